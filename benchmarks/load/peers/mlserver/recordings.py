"""MLServer with our extractor and model: a custom handler, which its parallel workers run."""

from typing import Annotated, Any

from fastapi import File
from mlserver import MLModel
from mlserver.handlers import custom_handler

import oddsound


class Recordings(MLModel):  # type: ignore[misc]  # MLServer is in an environment of its own
    """The model of models.json, as a runtime of MLServer."""

    async def load(self) -> bool:
        self.model = oddsound.load_model("fan")
        return True

    @custom_handler(rest_path="/predict")  # type: ignore[untyped-decorator]
    async def classify(self, file: Annotated[bytes, File()]) -> dict[str, Any]:
        return oddsound.predict(file, self.model).model_dump(mode="json")
