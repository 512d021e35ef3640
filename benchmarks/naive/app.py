"""An S3 function as in tutorials: all imports at the top, librosa.load, a joblib model.

The baseline of the cold starts in docs/performance.md.
"""

import json
import os
from urllib.parse import unquote_plus

import boto3
import joblib
import librosa
from reference_naive import features

s3 = boto3.client("s3")
model = joblib.load(os.environ["MODEL_PATH"])


def handler(event, context):  # type: ignore[no-untyped-def]  # as tutorials do
    record = event["Records"][0]["s3"]
    bucket, key = record["bucket"]["name"], unquote_plus(record["object"]["key"])
    path = os.path.join(os.environ["TMPDIR"], "recording.wav")  # noqa: PTH118  as tutorials do
    s3.download_file(bucket, key, path)
    y, sr = librosa.load(path, sr=16000)
    probabilities = model.predict_proba(features(y, sr)[None])[0]
    result = dict(zip(model.classes_, probabilities.tolist(), strict=True))
    s3.put_object(
        Bucket=os.environ["RESULTS_BUCKET"], Key=f"results/{key}.json", Body=json.dumps(result)
    )
    return result
