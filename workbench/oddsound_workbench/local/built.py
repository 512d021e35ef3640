"""The functions that `sam build` built, with a local AWS that has the template's resources.

The functions have the environment, memory and timeout of the built template. The resources have
the names of the stack `audio-anomaly-dev`, which the sample events refer to.
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
from oddsound_workbench.local.aws import CREDENTIALS, STACK, aws_client, moto_server
from oddsound_workbench.local.emulator import FunctionInstance


@dataclass(frozen=True)
class Deployment:
    """Built functions, and the local AWS that they use.

    names : physical name (for a queue, its URL) of every resource of the template
    opt : the files of all layers in one folder, as Lambda unpacks them
    """

    build: Path
    opt: Path
    endpoint_url: str
    functions: dict[str, Function]
    names: dict[str, str]

    def client(self, service: str) -> Any:
        """A boto3 client for this local AWS."""
        return aws_client(service, self.endpoint_url)

    def push(self, models: Path) -> list[str]:
        """Make the bucket serve this models.json. Returns the keys that were uploaded."""
        target = f"s3://{events.MODELS_BUCKET}"
        return push(models, target, self.client("s3"), replace=True).uploaded

    def delete_results(self) -> None:
        """Delete every stored result, so that recordings are scored again."""
        s3 = self.client("s3")
        for stored in s3.list_objects_v2(Bucket=events.RESULTS_BUCKET).get("Contents", []):
            s3.delete_object(Bucket=events.RESULTS_BUCKET, Key=stored["Key"])

    def instance(
        self,
        name: str,
        *,
        timeout_s: int | None = None,
        environment: Mapping[str, str] | None = None,
        code: Path | None = None,
    ) -> FunctionInstance:
        """An instance of the function with this logical id, not started yet.

        timeout_s : replaces the template's
        environment : overrides variables of the template
        code : replaces the folder of the function's code
        """
        function = self.functions[name]
        return FunctionInstance(
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
def running(
    models: Path = MODELS, build: Path = BUILD, aws_host: str = "127.0.0.1"
) -> Iterator[Deployment]:
    """Create the resources of the built template, with these models and the sample recording.

    aws_host : address that the local AWS listens on
    Raises FileNotFoundError if nothing is built.
    """
    path = build / "template.yaml"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run `make build`")
    with unpacked(layers(path)) as opt, moto_server(aws_host) as endpoint:
        cloudformation = aws_client("cloudformation", endpoint)
        functions, names = template.create(path, cloudformation, STACK)
        made = Deployment(build, opt, endpoint, {f.name: f for f in functions}, names)
        made.push(models)
        made.client("s3").put_object(
            Bucket=events.INPUT_BUCKET, Key=events.KEY, Body=events.recording()
        )
        yield made


@contextmanager
def unpacked(folders: list[Path]) -> Iterator[Path]:
    """A temporary folder with the files of all `folders`.

    The files are hard links, which take neither time nor space; they require the temporary
    folder to be on the same file system, so it is created next to the first of `folders`.

    Raises FileExistsError if two layers contain the same file.
    """
    with tempfile.TemporaryDirectory(dir=folders[0].parent.parent, prefix="opt-") as opt:
        for folder in folders:
            shutil.copytree(folder, opt, copy_function=os.link, dirs_exist_ok=True)
        yield Path(opt)
