"""Loads the handlers in functions/, in a checkout and in an installed wheel."""

import importlib.util
import sys
from types import ModuleType

from oddsound_workbench.files import PROJECT


def load(name: str) -> ModuleType:
    """The module `name` of the project, such as functions.api.app, loaded once per process.

    The module is loaded from its file: a wheel keeps functions/ outside sys.path, because a
    package with so general a name could hide another project's package of the same name.

    Raises ModuleNotFoundError if the project has no such file.
    """
    if name in sys.modules:
        return sys.modules[name]
    path = PROJECT.joinpath(*name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ModuleNotFoundError(f"{path} does not exist", name=name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
