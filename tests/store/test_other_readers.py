"""A closed store is plain HDF5: others read the same bits. Tools that are not installed are skipped.

h5dump: the package hdf5-tools. h5wasm: npm install h5wasm in some folder, named by the variable H5WASM_FOLDER.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from pwlnet import store
from pwlnet.store import schema

H5WASM = Path(os.environ.get("H5WASM_FOLDER", os.devnull))


@pytest.fixture
def path(tmp_path, make_lines):
    path = tmp_path / "lines.h5"
    store.save_lines(path, iter([make_lines(20), make_lines(300, seed=1)]), parameters={"data": "Ziffern 数字"})
    return path


def stored_arrays(path):
    """What pwlnet reads, by path; offsets as they are in the file."""
    with store.open(path) as opened:
        ends = opened.axis_ranges(schema.LINES, 0, opened.n_lines)
        return {d.path: opened.read_rows(d, 0, ends[d.axis][1] + d.lead) for d in schema.LINES.stored}


def test_plain_h5py_reads_the_same_bits(path):
    with h5py.File(path, "r") as file:
        for name, array in stored_arrays(path).items():
            assert file[name][()].tobytes() == array.tobytes(), name
        assert file["/commits"]["kind"].tolist() == [b"lines", b"lines"]
        with store.open(path) as opened:
            assert file.attrs["network-digest"].decode() == opened.network_digest
            assert json.loads(file.attrs["provenance"]) == opened.provenance


@pytest.mark.skipif(not shutil.which("h5dump"), reason="h5dump is not installed")
def test_h5dump_reads_the_same_bits(path, tmp_path):
    for name, array in stored_arrays(path).items():
        out = tmp_path / "values.bin"
        subprocess.run(["h5dump", "-d", name, "-b", "LE", "-o", str(out), str(path)], check=True, capture_output=True)
        assert np.fromfile(out, array.dtype).tobytes() == array.tobytes(), name


@pytest.mark.skipif(not (shutil.which("node") and H5WASM.is_dir()), reason="h5wasm is not installed")
def test_javascript_reads_the_same_bits(path):
    command = ["node", "--input-type=module", "-", str(path)]
    program = Path(__file__).with_name("read_h5wasm.mjs").read_bytes()
    found = json.loads(subprocess.run(command, input=program, check=True, capture_output=True, cwd=H5WASM).stdout)
    for name, array in stored_arrays(path).items():
        assert found[name] == hashlib.sha256(array.tobytes()).hexdigest(), name
    with store.open(path) as opened:
        assert found["network-digest"] == opened.network_digest
        assert json.loads(found["provenance"]) == opened.provenance
