"""Trains the tutorial's model with the packages of its own environment: python ... MODEL_PATH"""

import sys

import joblib
import numpy as np
from reference_naive import features
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

rows = [
    features((0.1 * np.random.default_rng(seed).standard_normal(80_000)).astype(np.float32), 16000)
    for seed in range(12)
]
model = make_pipeline(StandardScaler(), RandomForestClassifier(random_state=0))
joblib.dump(model.fit(rows, ["normal"] * 6 + ["faulty"] * 6), sys.argv[1])
