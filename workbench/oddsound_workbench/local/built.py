"""What `sam build` built, with an AWS around it: moto's server and all that the template declares.

The functions have the environment, memory and timeout of the template that `sam build` wrote,
and the names of a stack `audio-anomaly-dev`, which are those of the sample events.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oddsound_workbench.deploy import events, template
from oddsound_workbench.deploy.push import push
from oddsound_workbench.deploy.template import Function, layers
from oddsound_workbench.files import BUILD, MODELS
from oddsound_workbench.local.cloud import aws_client, moto_server
from oddsound_workbench.local.emulator import Slot

STACK = "audio-anomaly-dev"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": events.REGION,
    "AWS_REGION": events.REGION,
}


@dataclass(frozen=True)
class Deployment:
    """Functions that can be called, and what they call.

    names : physical name (of a queue, the URL) of every resource of the template
    opt : the layers, unpacked over each other as Lambda does
    """

    build: Path
    opt: Path
    endpoint_url: str
    functions: dict[str, Function]
    names: dict[str, str]

    def client(self, service: str) -> Any:
        """A boto3 client of this AWS."""
        return aws_client(service, self.endpoint_url, events.REGION)

    def push(self, models: Path) -> list[str]:
        """Upload a models.json with its artifacts. Returns the keys that were uploaded."""
        return push(models, f"s3://{events.MODELS_BUCKET}", self.client("s3"))

    def slot(
        self,
        name: str,
        *,
        timeout_s: int | None = None,
        environment: Mapping[str, str] | None = None,
        code: Path | None = None,
    ) -> Slot:
        """A slot of the function with this logical id, not started yet.

        timeout_s : instead of the template's
        environment : over the template's
        code : instead of the function's own
        """
        function = self.functions[name]
        return Slot(
            code or self.build / function.code,
            function.handler,
            self.opt,
            CREDENTIALS
            | {"AWS_ENDPOINT_URL": self.endpoint_url}
            | function.environment
            | dict(environment or {}),
            timeout_s=timeout_s or function.timeout_s,
            memory_mb=function.memory_mb,
            name=name,
        )


@contextmanager
def running(models: Path = MODELS, build: Path = BUILD) -> Iterator[Deployment]:
    """Deploy what is built, with these models and the sample events' recording on S3.

    Raises FileNotFoundError where nothing is built.
    """
    path = build / "template.yaml"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; `make build` builds it")
    with unpacked(layers(path)) as opt, moto_server() as endpoint:
        cloudformation = aws_client("cloudformation", endpoint, events.REGION)
        functions, names = template.create(path, cloudformation, STACK)
        made = Deployment(build, opt, endpoint, {f.name: f for f in functions}, names)
        made.push(models)
        made.client("s3").put_object(
            Bucket=events.INPUT_BUCKET, Key=events.KEY, Body=events.recording()
        )
        yield made


@contextmanager
def unpacked(folders: list[Path]) -> Iterator[Path]:
    """One folder with the files of all, for as long as the context is.

    They are links, which cost neither time nor bytes; therefore it stands beside the first.
    Raises FileExistsError where two layers have the same file.
    """
    with tempfile.TemporaryDirectory(dir=folders[0].parent.parent, prefix="opt-") as opt:
        for folder in folders:
            shutil.copytree(folder, opt, copy_function=os.link, dirs_exist_ok=True)
        yield Path(opt)
