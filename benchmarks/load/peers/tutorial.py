"""The service of a tutorial: FastAPI, librosa.load, the usual features, a joblib model.

As in tutorials, the endpoint is a plain function, which FastAPI runs in a thread. `features` are
those of benchmarks/reference_naive.py, and the model is trained on them: it cannot read ours.
"""

import os
from typing import Any

import joblib
import librosa
from fastapi import FastAPI, UploadFile
from reference_naive import features

app = FastAPI()
model = joblib.load(os.environ["MODEL_PATH"])


@app.post("/predict")
def predict(file: UploadFile) -> dict[str, Any]:
    y, sr = librosa.load(file.file, sr=16000)
    probabilities = model.predict_proba(features(y, sr)[None])[0]
    return {
        "prediction": str(model.classes_[probabilities.argmax()]),
        "probability": float(probabilities.max()),
    }
