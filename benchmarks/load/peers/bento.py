"""BentoML with our extractor and model: it takes a file of a form."""

import os
from pathlib import Path
from typing import Any

import bentoml

import oddsound


@bentoml.service(workers=int(os.environ.get("WORKERS", "1")), traffic={"timeout": 60})
class Recordings:
    """The model of models.json, as a service of BentoML."""

    def __init__(self) -> None:
        self.model = oddsound.load_model("fan")

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, file: Path) -> dict[str, Any]:
        return oddsound.predict(file, self.model).model_dump(mode="json")
