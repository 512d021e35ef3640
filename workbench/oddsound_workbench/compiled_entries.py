"""`oddsound compile`: adds compiled files to the models of a models.json."""

from pathlib import Path

from oddsound.artifacts import digest
from oddsound.registry import Registry
from oddsound_workbench import model_folder
from oddsound_workbench.compiling import compiler
from oddsound_workbench.errors import FolderError

NAME_LENGTH = 12
"""Digits of the checksum in a file's name, so that no file is replaced that is being read."""


def compile_entry(models: Path, registry: Registry, name: str, sample_rate: int) -> Path:
    """Compile one model, write the file beside its joblib files, and name it in models.json.

    models : the file that `registry` reads
    sample_rate : in Hz, if the entry has none
    Returns the file. Raises NotCompilableError if the model cannot be compiled, and the errors of
    loading a model; models.json then stays as it is.
    """
    name, entry = registry.catalogue.entry(name)
    if entry.model_path.startswith("s3://"):
        raise FolderError(
            f"{name}: {entry.model_path} is on S3; compile the model in a folder, then push it"
        )
    data = compiler.compiled(name, entry, sample_rate, registry.fetcher(entry))
    file = f"compiled-{digest(data)[:NAME_LENGTH]}.npz"
    path = (Path(entry.model_path).parent / file).as_posix()
    written = models.parent / path
    model_folder.write(written, data)
    model_folder.update_entry(
        models, name, {"compiled_path": path}, {"compiled_path": digest(data)}
    )
    return written
