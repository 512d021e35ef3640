"""The stand-ins of the dependency layer, and its slimming."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from oddsound.features import extractor

LAYER = Path(__file__).parents[1] / "layers" / "dependencies"

CALLED = """
import numpy as np, librosa, numba
assert numba.__version__ == "0+stand-in"
from oddsound.features import extractor
print(len(extractor("default", 16000)(np.ones(16000, np.float32))))
try:
    librosa.sequence.dtw(np.ones((3, 4)), np.ones((3, 4)))
except numba.CompilerMissingError as error:
    print(error)
try:
    librosa.resample(np.ones(100), orig_sr=2, target_sr=1, res_type="sinc_best")
except ImportError as error:
    print(error)
"""


@pytest.fixture(scope="module")
def slim() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slim", LAYER / "slim.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_librosa_works_without_numba_and_names_functions_that_need_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CALLED],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(LAYER / "stand_in")},
    )
    assert done.returncode == 0, done.stderr
    features, compiler_error, resampler_error = done.stdout.splitlines()
    assert int(features) == len(extractor("default", 16000).names)
    assert "librosa.sequence.__dtw_calc_accu_cost is compiled by numba" in compiler_error
    assert "samplerate is not in the Lambda layer" in resampler_error


def make(folder: Path, *paths: str, size: int = 10) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"#" * size)
    return folder


def test_unused_files_are_removed_and_all_others_are_kept(slim: ModuleType, tmp_path: Path) -> None:
    kept = (
        "numpy/__init__.py",
        "numpy/_core/tests/_natype.py",
        "numpy/_core/_umath_tests_helper.cpython-313-x86_64-linux-gnu.so",
        "numpy/f2py/__init__.py",
        "numpy.libs/libscipy_openblas64.so",
        "librosa/__init__.pyi",
        "fastapi_offline/static/swagger-ui-bundle.js",
        "wavesurfer/js/wavesurfer.min.js",
        "wavesurfer/js/plugins/regions.min.js",
        "wavesurfer/js/vendor-licenses/wavesurfer.js.LICENSE",
        "scipy-1.0.dist-info/METADATA",
        "scipy-1.0.dist-info/LICENSE.txt",
        "scipy-1.0.dist-info/sboms/scipy.cdx.json",
    )
    removed = (
        "bin/f2py",
        "numpy/conftest.py",
        "numpy/_core/_umath_tests.cpython-313-x86_64-linux-gnu.so",
        "numpy/_core/tests/test_dtype.py",
        "numpy/_core/include/numpy/arrayobject.h",
        "numpy/_core/lib/libnpymath.a",
        "numpy/__init__.pyi",
        "scipy/io/tests/data/large.mat",
        "scipy/io/_fast_matrix_market/_fmm_core.cpython-313-x86_64-linux-gnu.so",
        "scipy/odr/__init__.py",
        "fastapi_offline/static/redoc.standalone.js",
        "wavesurfer/__init__.py",
        "wavesurfer/js/plugins/minimap.min.js",
        "cffi/api.py",
        "scipy-1.0.dist-info/RECORD",
        "sklearn/datasets/data/digits.csv.gz",
        "sklearn/_loss/_loss.pyx.tp",
    )
    folder = make(tmp_path, *kept, *removed)
    slim.slim(folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    sources = {path for path in found if not path.endswith(".pyc")}
    assert sources == {*kept, "numba/__init__.py", "resampy.py", "samplerate.py"}
    assert not (folder / "bin").exists()
    assert not (folder / "scipy").exists()


def test_bytecode_is_unchecked_and_all_files_have_the_same_time(
    slim: ModuleType, tmp_path: Path
) -> None:
    folder = make(tmp_path / "python", "numpy/__init__.py")
    slim.slim(folder)
    (compiled,) = (folder / "numpy" / "__pycache__").iterdir()
    flags = int.from_bytes(compiled.read_bytes()[4:8], "little")
    assert flags == 0b01  # based on a hash, and not checked
    assert {path.stat().st_mtime for path in folder.rglob("*")} == {slim.EPOCH_S}


def test_the_boms_of_wheels_keep_their_values_in_fewer_bytes(
    slim: ModuleType, tmp_path: Path
) -> None:
    folder = make(tmp_path / "python", "scipy-1.0.dist-info/sboms/scipy.cdx.json")
    path = folder / "scipy-1.0.dist-info" / "sboms" / "scipy.cdx.json"
    bom = {"bomFormat": "CycloneDX", "components": [{"name": "Lüfter", "version": "1.0"}] * 20}
    path.write_text(json.dumps(bom, indent=2))
    before = path.stat().st_size
    slim.slim(folder)
    assert json.loads(path.read_bytes()) == bom
    assert path.stat().st_size < before / 1.5


def test_a_file_that_does_not_compile_is_an_error(slim: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def\n")
    with pytest.raises(SystemExit, match="cannot compile"):
        slim.byte_compile(tmp_path)
