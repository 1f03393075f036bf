"""Bad input from end to end: what a user does wrong, and the one sentence that the user gets.

Cases that are fine, though they look odd, are in the second half.
"""

import errno
import os
import re
import subprocess

import numpy as np
import pytest
import torch
from torch import nn

import pwlnet
from pwlnet import store
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import CapacityError, ConversionError, InputError, ShapeError, StoreError

NNET = ["1,2,1,2,", "2,1,", "0,", "0,", "0,", "0,", "0,", "1.0,2.0,", "0.5,"]


def network(size=2):
    graph = Graph((size,), batched=False)
    hidden = graph.linear(graph.input, np.arange(3.0 * size).reshape(3, size) - 2.0, [0.5, -0.5, 0.25], name="first")
    graph.output = graph.linear(graph.relu(hidden, name="relu"), [[1.0, -2.0, 3.0]], name="last")
    return lower(graph)


def lines(starts, ends, **options):
    return lambda folder: pwlnet.partition_lines(network(), starts, ends, **options)


def forward(X, **options):
    return lambda folder: network().forward(X, **options)


def poisoned(value):
    module = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with torch.no_grad():
        module[2].weight[0, 1] = value
    return module


def onnx_file(folder, value=None, keep=1.0):
    """The path of a small ONNX file, with a bad weight, or cut off."""
    onnx = pytest.importorskip("onnx")
    weights = {"w": np.ones((3, 2), np.float32), "b": np.zeros(3, np.float32)}
    if value is not None:
        weights["w"][1, 1] = value
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1, name="gemm")],
        "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    content = onnx.helper.make_model(graph).SerializeToString()
    path = folder / "net.onnx"
    path.write_bytes(content[: int(keep * len(content))])
    return path


def load(name, content=None):
    """Load a file of the folder, with this content."""

    def act(folder):
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return pwlnet.load_network(folder / name)

    return act


def cut_store(folder):
    path = folder / "lines.h5"
    store.save_lines(path, pwlnet.partition_lines(network(), [0.0, 0.0], [[1.0, 1.0]]))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def save_below_a_file(folder):
    (folder / "file").write_text("")
    network().save(folder / "file" / "net.h5")


CASES = {
    # Networks.
    "NaN weight, torch": (
        lambda folder: pwlnet.from_torch(poisoned(np.nan), (2,)),
        InputError,
        "parameter '2.weight' holds 1 values that are not finite; a network needs finite weights, check how "
        "it was trained or saved",
    ),
    "infinite weight, torch": (
        lambda folder: pwlnet.from_torch(poisoned(-np.inf), (2,)),
        InputError,
        "parameter '2.weight' holds 1 values that are not finite; a network needs finite weights, check how "
        "it was trained or saved",
    ),
    "NaN weight, ONNX": (
        lambda folder: pwlnet.load_network(onnx_file(folder, np.nan)),
        InputError,
        "initializer 'w' of {folder}/net.onnx has 1 entries that are not finite; a network needs finite weights, check "
        "how it was trained or saved",
    ),
    "infinite weight, ONNX": (
        lambda folder: pwlnet.load_network(onnx_file(folder, np.inf)),
        InputError,
        "initializer 'w' of {folder}/net.onnx has 1 entries that are not finite; a network needs finite weights, check "
        "how it was trained or saved",
    ),
    "truncated ONNX": (
        lambda folder: pwlnet.load_network(onnx_file(folder, keep=0.5)),
        ConversionError,
        "{folder}/net.onnx is not a readable ONNX file (...); check the path, or export it again",
    ),
    "text named .onnx": (
        load("net.onnx", "not a network\n" * 9),
        ConversionError,
        "{folder}/net.onnx is not a readable ONNX file (...); check the path, or export it again",
    ),
    "empty file named .onnx": (
        load("net.onnx", ""),
        ConversionError,
        "{folder}/net.onnx is not a readable ONNX file (it is empty or damaged, without a graph); check the "
        "path, or export it again",
    ),
    ".nnet with a row missing": (
        load("net.nnet", "\n".join(NNET[:-1])),
        ConversionError,
        "{folder}/net.nnet ends at line 8 after 1 rows of weights and biases; layer sizes (2, 1) need 2, so "
        "the file is cut off or damaged",
    ),
    ".nnet with NaN": (
        load("net.nnet", "\n".join(NNET).replace("2.0", "nan")),
        InputError,
        "line 8 of {folder}/net.nnet holds a number that is not finite; a network needs finite weights, check the file",
    ),
    "missing file": (
        load("net.onnx"),
        ConversionError,
        "{folder}/net.onnx is not a file; give the path of a network file (.onnx, .nnet, .eran, .tf, .h5, .hdf5)",
    ),
    "unknown suffix": (
        load("net.pkl", "x"),
        ConversionError,
        "{folder}/net.pkl is a file of PyTorch; load the module with torch (a state_dict into a module of its class) and pass "
        "it to pwlnet.from_torch",
    ),
    "wrong input_shape, torch": (
        lambda folder: pwlnet.from_torch(nn.Linear(2, 1), (3,)),
        ConversionError,
        "node 'linear' has weight of shape (1, 2), but its input has shape (1, 3); the weight must be [outputs, 3]",
    ),
    # Points.
    "NaN input": (
        forward([[0.0, np.nan]]),
        InputError,
        "X has 1 rows with NaN or infinite entries, the first is row 0; remove them",
    ),
    "infinite input": (
        forward([[0.0, 1.0], [np.inf, 0.0]]),
        InputError,
        "X has 1 rows with NaN or infinite entries, the first is row 1; remove them",
    ),
    "input of a wrong shape": (
        forward(np.zeros((4, 3))),
        ShapeError,
        "X has shape (4, 3), but the network takes 2 inputs; give (rows, 2)",
    ),
    "complex input": (
        forward(np.zeros((4, 2), complex)),
        InputError,
        "X has dtype complex128; real numbers are needed, convert it to float64",
    ),
    "no threads": (
        forward(np.zeros((4, 2)), threads=0),
        InputError,
        "threads is 0; a positive integer is needed, or None for all processors",
    ),
    # Lines.
    "NaN in a line": (
        lines([[0.0, np.nan]], [[1.0, 1.0]]),
        InputError,
        "starts has 1 rows with NaN or infinite entries, the first is row 0; remove them",
    ),
    "infinite line": (
        lines([[0.0, 0.0]], [[1.0, np.inf]]),
        InputError,
        "ends has 1 rows with NaN or infinite entries, the first is row 0; remove them",
    ),
    "line of a wrong shape": (
        lines(np.zeros((8, 3)), np.ones((8, 3))),
        ShapeError,
        "starts has shape (8, 3), but the network takes 2 inputs; give (rows, 2)",
    ),
    "starts without their ends": (
        lines(np.zeros((3, 2)), np.ones((2, 2))),
        ShapeError,
        "starts has 3 rows, but ends has 2; give one end for each start",
    ),
    "too many segments": (
        lines([-9.0, -9.0], [9.0, 9.0], max_segments=1),
        CapacityError,
        "line 0 has 4 segments, more than max_segments=1; raise the limit or shorten the line",
    ),
    "max_segments=0": (
        lines([0.0, 0.0], [1.0, 1.0], max_segments=0),
        InputError,
        "max_segments is 0; a positive integer is needed, or None for no limit",
    ),
    # Files to write, and to read back.
    "folder that is a file": (
        save_below_a_file,
        StoreError,
        "{folder}/file/net.h5 can't be written (Not a directory); nothing was left there, free space or choose another folder",
    ),
    "HDF5 cut in half": (
        lambda folder: store.load_lines(cut_store(folder)),
        StoreError,
        "{folder}/lines.h5 is cut off after {size} bytes; restore a copy or compute it again",
    ),
    "network of HDF5 cut in half": (
        lambda folder: pwlnet.load_network(cut_store(folder)),
        StoreError,
        "{folder}/lines.h5 is cut off after {size} bytes; restore a copy or compute it again",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_sentence(name, tmp_path):
    act, error, sentence = CASES[name]
    with pytest.raises(error) as caught:
        act(tmp_path)
    pattern = re.escape(sentence.replace("{folder}", str(tmp_path))).replace(re.escape("(...)"), r"\(.+\)")
    assert re.fullmatch(pattern.replace(re.escape("{size}"), r"\d+"), str(caught.value))


def test_a_read_only_folder_and_a_full_disk_get_one_sentence_and_no_file(tmp_path, monkeypatch):
    for number in (errno.EROFS, errno.EACCES, errno.ENOSPC):

        def fail(descriptor, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError) as caught:
            network().save(tmp_path / "net.h5")
        assert str(caught.value) == (
            f"{tmp_path}/net.h5 can't be written ({os.strerror(number)}); nothing was left there, free space or "
            "choose another folder"
        )
        assert not list(tmp_path.iterdir())


def test_a_really_full_disk_gets_one_sentence_and_no_file(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with pytest.raises(StoreError) as caught:
            network(size=2000).save(tmp_path / "net.h5")
        assert str(caught.value) == (
            f"{tmp_path}/net.h5 can't be written (No space left on device); nothing was left there, free space or "
            "choose another folder"
        )
        assert not list(tmp_path.iterdir())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# What looks odd and is fine.


def test_a_line_of_length_zero_has_one_segment_and_no_flips():
    found = pwlnet.partition_lines(network(), [[1.0, 2.0], [0.0, 0.0]], [[1.0, 2.0], [0.0, 0.0]])
    assert found.n_segments.tolist() == [1, 1]
    assert found.t.tolist() == [0.0, 1.0, 0.0, 1.0]
    assert found.flip_neurons.size == 0
    assert found.density.tolist() == [np.inf, np.inf]
    assert np.array_equal(found.parts[0].outputs(), network().forward([[1.0, 2.0]] * 2))


def test_no_lines_give_an_empty_partition_that_can_be_kept(tmp_path):
    found = pwlnet.partition_lines(network(), np.empty((0, 2)), np.empty((0, 2)))
    assert len(found) == 0
    assert found.t.size == found.flip_neurons.size == found.residual.size == 0
    assert found.offsets.tolist() == [0]
    assert found.check() == []
    found.save(tmp_path / "lines.h5")
    assert len(store.load_lines(tmp_path / "lines.h5")) == 0


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.bool_, np.float32])
def test_ends_of_any_real_type_give_the_partition_of_their_values(dtype):
    starts, ends = np.array([[0, 0], [1, 0]]), np.array([[1, 1], [0, 1]])
    found = pwlnet.partition_lines(network(), starts.astype(dtype), ends.astype(dtype))
    wanted = pwlnet.partition_lines(network(), starts.astype(float), ends.astype(float))
    assert np.array_equal(found.t, wanted.t)
    assert np.array_equal(found.flip_neurons, wanted.flip_neurons)


def test_ends_of_any_memory_order_give_the_same_partition():
    starts, ends = np.random.default_rng(0).normal(size=(2, 6, 2))
    wanted = pwlnet.partition_lines(network(), starts, ends)
    for change in (np.asfortranarray, lambda x: np.repeat(x, 2, axis=0)[::2], np.ndarray.tolist):
        found = pwlnet.partition_lines(network(), change(starts), change(ends))
        assert np.array_equal(found.t, wanted.t)
        assert np.array_equal(found.offsets, wanted.offsets)
