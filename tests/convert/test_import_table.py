"""Every network file of the local data folder converts and agrees with an independent evaluation, or is refused
rightly.

The checks are those of data/import_table.py.
"""

import importlib.util
import os
from pathlib import Path

import pytest

FOLDER = os.environ.get("PWLNET_DATA_DIR", "")
SCRIPT = Path(__file__).resolve().parents[2] / "data" / "import_table.py"


def load_script():
    spec = importlib.util.spec_from_file_location("import_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


import_table = load_script()
PATHS = import_table.files(FOLDER) if FOLDER and Path(FOLDER).is_dir() else []
NONE = [pytest.param(None, marks=pytest.mark.skip(reason="PWLNET_DATA_DIR names no folder with network files"))]


@pytest.mark.parametrize("path", PATHS or NONE, ids=lambda path: str(path) if path is None else path.name)
def test_a_public_network_file_agrees_with_an_independent_evaluation_or_is_refused_rightly(path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    row = import_table.check(Path(FOLDER), path)
    assert import_table.is_right(row), row
