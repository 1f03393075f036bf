"""Kernels that meet an op which they do not know: NaN or an error, never a result that looks right (tests/blind_chain.py)."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pwlnet import op_contract
from pwlnet.kernels.ir.program import OP_NAMES

# Lines reach these at near-ties only, when other chains of the same ops have refused what they don't know (push_start, begin).
AT_NEAR_TIES = ("kernels/lines/closeness.py:", "kernels/lines/channel.py:is_near", "kernels/lines/pool_scan.py:_unsure_from")
EXCLUDED = (*AT_NEAR_TIES, "kernels/ir/program.py:_plan")
KERNELS = [c for c in op_contract.CHAINS if c.place.startswith("kernels/") and not c.place.startswith(EXCLUDED)]


@functools.cache
def report():
    """Outcomes by chain, op and analysis, of kernels that run as Python."""
    command = [sys.executable, "-m", "tests.blind_chain"]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "NUMBA_NUM_THREADS": "1"}  # the report is about one thread
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("chain", KERNELS, ids=[chain.place for chain in KERNELS])
def test_an_op_that_one_kernel_does_not_know_gives_nan_or_an_error_or_the_right_result(chain):
    for analyses in report()[chain.place].values():
        assert set(analyses.values()) <= {"same", "refused"}


@pytest.mark.parametrize(
    "chain", [c for c in KERNELS if not c.is_shortcut], ids=[c.place for c in KERNELS if not c.is_shortcut]
)
def test_every_op_that_a_kernel_names_is_refused_by_some_analysis_where_the_kernel_does_not_know_it(chain):
    for code in chain.branches:
        assert "refused" in report()[chain.place][OP_NAMES[code]].values()


@pytest.mark.parametrize("chain", [c for c in KERNELS if c.is_shortcut], ids=[c.place for c in KERNELS if c.is_shortcut])
def test_a_shortcut_that_does_not_know_an_op_leaves_it_to_the_general_path(chain):
    for analyses in report()[chain.place].values():
        assert set(analyses.values()) == {"same"}
