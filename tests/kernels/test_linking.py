"""Entries compiled in one piece with the kernels below them, on this version of Numba, and what replaces that on another."""

import gc
import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest
from numba.core import compiler, typed_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.errors import NumbaError

from pwlnet.kernels import _jit
from pwlnet.warmup import toy_network
from tests.counts import IN_PYTHON

FORCED = os.environ.get("PWLNET_PLAIN_NJIT", "0") == "1"
linked = pytest.mark.skipif(IN_PYTHON or FORCED, reason="kernels are not linked by request")


class Pair(NamedTuple):
    """Two arrays that kernels pass on together."""

    first: np.ndarray
    second: np.ndarray


@_jit.kernel
def _square(x):
    return x * x


@_jit.kernel
def _sum_of_squares(pair, k):
    return _square(pair.first[k]) + _square(pair.second[k]) + pair.first[k]


@_jit.entry_kernel
def sum_of_squares(pair, out):
    """Out: first**2 + second**2 + first."""
    for k in range(out.shape[0]):
        out[k] = _sum_of_squares(pair, k)


@_jit.entry_kernel
def total(x):
    """Sum of a vector."""
    result = 0.0
    for k in range(x.shape[0]):
        result += x[k]
    return result


@_jit.separate_kernel
def double_into(pair, k):
    """Out: pair.second[k] is twice pair.first[k]."""
    pair.second[k] = 2.0 * pair.first[k]


_call_double = _jit.by_address(double_into)


@_jit.entry_kernel
def double_at(address, pair):
    """Out: pair.second is twice pair.first."""
    for k in range(pair.first.shape[0]):
        _call_double(address, (pair, k))


def pair():
    return Pair(np.arange(3.0), np.arange(3.0, 6.0))


@linked
def test_this_version_of_numba_has_what_linking_needs():
    """If this fails, kernels compile by plain njit and take three times as long: adapt kernels/_linking.py to this Numba."""
    assert _jit.LINKING_PROBLEM is None
    assert _jit.MODE == _jit.LINKED


@linked
def test_only_the_entry_becomes_machine_code(monkeypatch):
    finalized, finalize = [], JITCodeLibrary._finalize_final_module
    monkeypatch.setattr(
        JITCodeLibrary, "_finalize_final_module", lambda library: (finalized.append(library.name), finalize(library))
    )
    inner = _jit.kernel(_square.py_func)
    middle = _jit.kernel(lambda x: inner(x) + 1.0)
    monkeypatch.setattr(_jit, "CACHE_FOLDER", None)
    outer = _jit.entry_kernel(_calls(middle))
    assert outer(3.0) == 10.0
    assert [name.split(".")[-1] for name in finalized if name != "nrt"] == ["outer"]  # nrt: Numba's runtime


def _calls(kernel):
    def outer(x):
        return kernel(x)

    return outer


@linked
def test_calling_an_inner_kernel_from_python_is_an_error_that_names_it():
    with pytest.raises(TypeError, match="_square is an inner kernel"):
        _square(2.0)


def test_a_named_tuple_of_arrays_arrives_with_its_contents():
    out = np.empty(3)
    sum_of_squares(pair(), out)
    assert out.tolist() == [9.0, 18.0, 31.0]


@pytest.fixture
def fresh(monkeypatch):
    """Compile ``sum_of_squares`` anew, not from the cache: (entry, the inner kernel below it)."""
    monkeypatch.setattr(_jit, "CACHE_FOLDER", None)
    inner = _jit.kernel(_sum_of_squares.py_func)

    def compiled(pair, out):
        for k in range(out.shape[0]):
            out[k] = inner(pair, k)

    return _jit.entry_kernel(compiled), inner


@linked
def test_a_field_is_loaded_once_from_a_pointer_that_llvm_knows(fresh):
    entry, inner = fresh
    entry(pair(), np.empty(3))
    (result,) = inner.overloads.values()
    code = str(result.library._final_module)
    assert "noalias" in code
    assert "dereferenceable(32)" in code  # address and length of two arrays
    function = code.split("define ")[1].split("\n}")[0]
    addresses = [line for line in function.splitlines() if "= load ptr" in line or "= load double*" in line]
    assert len([line for line in addresses if "excinfo" not in line]) == 2, function  # ``first`` is named twice


@linked
def test_read_only_and_writable_arguments_share_inner_kernels(fresh):
    entry, inner = fresh
    out, fixed = np.empty(3), pair()
    for array in fixed:
        array.setflags(write=False)
    entry(pair(), out)
    entry(fixed, out)
    assert out.tolist() == [9.0, 18.0, 31.0]
    assert len(inner.overloads) == 1


def test_entries_leave_reference_counts_as_they_are():
    x = np.arange(1000.0)
    before = sys.getrefcount(x)
    assert [total(x) for _ in range(3)] == [499500.0] * 3
    gc.collect()
    assert sys.getrefcount(x) == before


def test_a_kernel_called_by_its_address_does_what_it_does_when_called_by_name():
    numbers = pair()
    double_at(np.int64(_jit.address_of(double_into, numbers, 0)), numbers)
    assert numbers.second.tolist() == [0.0, 2.0, 4.0]


@linked
def test_a_missing_address_is_an_error():
    with pytest.raises(RuntimeError, match="has not been loaded"):
        double_at(np.int64(0), pair())


@linked
def test_arguments_by_address_have_one_of_three_types():
    def call(address, x):
        _call_double(address, (x,))

    with pytest.raises(NumbaError, match="pointers, int64 and float64 only"):
        _jit.entry_kernel(call)(np.int64(1), np.float32(1.0))


@linked
@pytest.mark.parametrize("name", ["_optimize_final_module", "_get_module_for_linking", "_finalize_final_module"])
def test_what_a_version_of_numba_lacks_is_named(monkeypatch, name):
    from pwlnet.kernels import _linking

    owner = next(kind for kind in JITCodeLibrary.__mro__ if name in vars(kind))
    monkeypatch.delattr(owner, name)
    assert name in _linking.find_problem()


@linked
def test_a_pipeline_without_the_pass_that_is_replaced_is_an_error(monkeypatch):
    define = compiler.DefaultPassBuilder.define_nopython_pipeline

    def without_lowering(state):
        manager = define(state)
        manager.passes = [x for x in manager.passes if x[0] is not typed_passes.NativeLowering]
        return manager

    monkeypatch.setattr(compiler.DefaultPassBuilder, "define_nopython_pipeline", staticmethod(without_lowering))
    monkeypatch.setattr(_jit, "CACHE_FOLDER", None)
    with pytest.raises(RuntimeError, match="PWLNET_PLAIN_NJIT=1"):
        _jit.entry_kernel(_square.py_func)(2.0)


def run_plain(program, tmp_path):
    environment = {**os.environ, "PWLNET_PLAIN_NJIT": "1", "NUMBA_CACHE_DIR": str(tmp_path), "PWLNET_QUIET": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@linked
def test_plain_njit_gives_the_same(tmp_path):
    program = (
        "import numpy as np; from pwlnet.kernels import _jit; from pwlnet.kernels.ir import bits; out = np.empty(2, np.int64);"
        "bits.hamming(np.array([[7], [9]], np.uint64), np.zeros((2, 1), np.uint64), np.ones(1, np.int64), out);"
        "print(_jit.MODE, *out, bits.popcount(np.uint64(7)))"
    )
    assert run_plain(program, tmp_path) == ["plain", "3", "2", "3"]


PARTITION = """
import hashlib, numpy as np, pwlnet
from pwlnet.warmup import toy_network

def digest(*arrays):
    return hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in arrays)).hexdigest()

def digests(network):
    ends = np.random.default_rng(0).normal(size=(2, 2, network.n_inputs))
    lines = pwlnet.partition_lines(network, *ends, threads=1)
    values = network.forward(ends[0])
    return [digest(values), digest(lines.t, lines.flip_neurons, lines.flip_states)]
"""


@linked
@pytest.mark.slow
def test_plain_njit_gives_the_same_bits_of_a_partition(tmp_path):
    scope = {}
    exec(PARTITION, scope)
    assert run_plain(f"{PARTITION}\nprint(*digests(toy_network()))", tmp_path) == scope["digests"](toy_network())
