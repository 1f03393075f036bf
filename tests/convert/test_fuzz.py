"""Mutated network files: a few hundred of each kind (`fuzz` reads more), and what it found."""

import os
import signal
import time
import warnings

import numpy as np
import pytest

pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper

import pwlnet
from pwlnet.convert.onnx.batches import rows_are_independent
from pwlnet.convert.text.nnet import read_nnet
from pwlnet.errors import ConversionError, PwlnetError, UnsupportedOperationError
from tests.convert import fuzz
from tests.convert.onnx_models import build, op, save
from tests.counts import few


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_mutated_files_are_refused_by_a_sentence_or_read_right(kind, monkeypatch, tmp_path):
    monkeypatch.delenv("PWLNET_DATA_DIR", raising=False)
    fuzz.seeds.cache_clear()
    fuzz.warm(kind)
    count = few(2000, 10, quick={"onnx": 60}.get(kind, 160))
    outcomes = [o for o in fuzz.in_children(kind, 0, range(count), tmp_path) if isinstance(o, tuple)]
    assert len(outcomes) == count
    assert [o for o in outcomes if o[1] not in (*fuzz.GOOD, "crash of onnxruntime")] == []
    assert sum(o[1:3] == ("accepted", "compared") for o in outcomes) > count // 20


def refused(model, folder, message, error=ConversionError):
    with pytest.raises(error, match=message) as caught:
        pwlnet.load_network(save(model, folder))
    assert len(str(caught.value)) < fuzz.LONGEST_SENTENCE


def changed(model, change):
    change(model)
    return model


WIDE = (1, 4)
HUGE = 10**12
W = np.ones((3, 4))


@pytest.mark.parametrize(
    ("shape", "nodes", "constants", "message"),
    [
        ((1, HUGE), [op("Relu", "x")], {}, "the input makes an array of shape .* at most 16777216 are supported"),
        (WIDE, [op("Expand", "x s")], {"s": [HUGE, 4]}, "node 'expand_y' makes an array of shape .*4000000000000 entries"),
        (WIDE, [op("Tile", "x s")], {"s": [HUGE, 1]}, "node 'tile_y' makes an array"),
        (
            WIDE,
            [op("ConstantOfShape", "s", "c"), op("MatMul", "x c")],
            {"s": [4, HUGE]},
            "node 'constantofshape_c' makes an array",
        ),
        (WIDE, [op("Pad", "x p")], {"p": [0, 0, 0, HUGE]}, "node 'pad_y' makes an array"),
        ((1, 1, 4, 4), [op("Resize", "x - - s")], {"s": [1, 1, HUGE, 4]}, "node 'resize_y' makes an array"),
        ((1, 1, 4, 4), [op("ConvTranspose", "x w", strides=[HUGE, 1])], {"w": np.ones((1, 1, 2, 2))}, "node .* makes an array"),
        (
            (1, 1, 4, 4),
            [op("Conv", "x w", pads=[HUGE, 0, 0, 0])],
            {"w": np.ones((1, 1, 2, 2))},
            "node 'conv_y' (makes|has .* terms)",
        ),
        ((1, 1, 4, 4), [op("Conv", "x w", pads=[-1, 0, 0, 0])], {"w": np.ones((1, 1, 2, 2))}, "the pads are at least 0"),
        ((1, 1, 4, 4), [op("MaxPool", "x", kernel_shape=[2, 2], strides=[0, 1])], {}, "and the others at least 1"),
        ((1, 1, 4, 4), [op("MaxPool", "x", kernel_shape=[2, 2], pads=[2, 0, 0, 0])], {}, "in pools less than the window"),
        ((1, 1, 4, 4), [op("Conv", "x w", kernel_shape=[3, 3])], {"w": np.ones((1, 1, 2, 2))}, r"kernel_shape \[3, 3\]"),
        (WIDE, [op("Gemm", "x w", transC=1)], {"w": W.T}, "with the attribute 'transC', which it does not have"),
        (WIDE, [op("Gemm", "x w", alpha=[1.0, 2.0])], {"w": W.T}, "'alpha' of type FLOATS, without a value of type FLOAT"),
        (WIDE, [op("Relu", "x x")], {}, "node 'relu_y' is Relu with 2 inputs; it needs 1"),
        (WIDE, [op("Gemm", "x -")], {}, "node 'gemm_y' is Gemm without its input 'B'"),
        ((1, 1, 4, 4), [op("MaxPool", "x")], {}, "without the attribute 'kernel_shape', which it needs"),
        (WIDE, [op("Add", "x c"), op("Relu", "x", "c")], {"c": W[0]}, "defines the value 'c' more than once"),
        (WIDE, [op("Identity", "z", "y"), op("Identity", "y", "z")], {}, "reads its own output"),
        (WIDE, [op("ArgMax", "y", "y")], {}, "reads its own output"),
        (WIDE, [op("Softmax", "", "y")], {}, "(which does not depend on its input|Softmax with 0 inputs)"),
        (WIDE, [op("ScatterND", "x i u")], {"i": [[0, 9]], "u": np.ones(1)}, "which do not fit together or to its attributes"),
        ((1, 1, 4, 4), [op("Resize", "x")], {}, "without scales and sizes"),
        (WIDE, [op("Clip", "x c")], {"c": W[0, :2]}, "node 'clip_y' is Clip with inputs of shapes"),
    ],
)
def test_a_damaged_onnx_file_is_refused_at_once(shape, nodes, constants, message, tmp_path):
    start = time.process_time()
    refused(build(shape, *nodes, constants=constants), tmp_path, message)
    assert time.process_time() - start < 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.opset_import[0], "version", 0), "written for operator set 0, but the installed onnx knows 1 to"),
        (lambda m: setattr(m.opset_import[0], "version", 1000), "written for operator set 1000"),
        (
            lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 77),
            "of type number 77; a network needs a float input",
        ),
        (lambda m: setattr(m.graph.node[0], "op_type", "Re lu"), "has a node of type 'Re lu', whose type is not a word"),
        (lambda m: m.graph.initializer.add(name="w", dims=[HUGE], data_type=1), "more than once"),
        (lambda m: m.graph.initializer[0].dims.append(HUGE), "initializer 'w' of .* can't be read"),
        (lambda m: setattr(m.graph.initializer[0], "data_type", 99), "initializer 'w' of .* can't be read"),
        (lambda m: setattr(m.graph.node[0].attribute[0], "type", 0), "of type UNDEFINED, without a value of type INT"),
        (lambda m: m.graph.node[0].attribute.append(m.graph.node[0].attribute[0]), "'transB' twice"),
        (
            lambda m: m.functions.add(name="Gemm", node=m.graph.node, opset_import=m.opset_import),
            "local functions that can't be inlined",
        ),
    ],
)
def test_a_field_of_an_onnx_file_that_makes_no_sense_is_refused(change, message, tmp_path):
    model = build(WIDE, op("Gemm", "x w", transB=1), constants={"w": W})
    refused(changed(model, change), tmp_path, message)


def test_flags_are_0_or_1(tmp_path):
    """Of others, onnxruntime and the reference implementation make different things."""
    node = op("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 4], ceil_mode=127)
    refused(build((1, 2, 5, 6), node), tmp_path, "'ceil_mode', which is 127; it is 0 or 1")


def test_operands_of_a_product_are_matrices(tmp_path):
    node = op("Gemm", "w x", transA=1, transB=1)
    model = build((2, 3, 3), node, constants={"w": np.ones((3, 4))})
    refused(model, tmp_path, "multiplies arrays that are not matrices", UnsupportedOperationError)


def test_statistics_of_a_batch_norm_have_one_entry_per_channel(tmp_path):
    statistics = {name: np.ones(4) for name in "smv"} | {"b": np.ones((4, 1))}
    model = build((1, 4), op("BatchNormalization", "x s b m v"), constants=statistics)
    refused(model, tmp_path, r"\(4,\) is needed", UnsupportedOperationError)


def test_names_of_operators_are_printable(tmp_path):
    model = changed(build(WIDE, op("Relu", "x")), lambda m: setattr(m.opset_import[0], "domain", "\n"))
    refused(model, tmp_path, r"operators of '\\n' only")


def test_texts_that_are_no_utf8_are_refused(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(build(WIDE, op("Relu", "x")).SerializeToString().replace(b"Relu", b"Re\xff\xfe"))
    with pytest.raises(PwlnetError, match=r"whose type is not a word|not a readable ONNX file"):
        pwlnet.load_network(path)


def test_an_operator_that_its_operator_set_lacks_is_refused(tmp_path):
    refused(
        build(WIDE, op("Shrink", "x"), opset=8), tmp_path, "not an operator of ONNX's operator set 8", UnsupportedOperationError
    )


def test_a_subgraph_that_returns_what_it_does_not_make_is_refused(tmp_path):
    inner = helper.make_graph(
        [op("Relu", "x", "z")], "inner", [], [helper.make_tensor_value_info("q", TensorProto.FLOAT, None)]
    )
    model = build(WIDE, op("If", "c", then_branch=inner, else_branch=inner), constants={"c": np.array([True])})
    refused(model, tmp_path, "(a subgraph returns|reads) 'q', which")


def test_a_large_batch_is_compared_by_some_of_its_rows():
    whole, single = (build((n, 2), op("Mul", "x c"), constants={"c": np.ones(2)}) for n in (100_000, 1))
    start = time.process_time()
    assert rows_are_independent(whole, single, "x", (100_000, 2))
    assert time.process_time() - start < 5.0


def test_a_linear_map_of_few_entries_of_a_large_input_takes_memory_for_these(tmp_path):
    model = build(
        (1, 70_000), op("Gather", "x i", "p", axis=1), op("Gemm", "p w"), constants={"i": [0, 7, 9], "w": np.ones((3, 1024))}
    )
    network = pwlnet.load_network(save(model, tmp_path), check="off")
    assert network.program.weights.size == 3 * 1024
    x = np.zeros((1, 70_000))
    x[0, 7] = 2.0
    assert (network.forward(x) == 2.0).all()


@pytest.mark.parametrize("word", ["1_0", "\u0661", "\uff11", "0x10", "1e", "nan1"])
@pytest.mark.parametrize("kind", ["nnet", "eran"])
def test_only_ascii_decimals_are_numbers(kind, word, tmp_path):
    path = tmp_path / f"net.{kind}"
    lines = {"nnet": ["1,1,1,1", "1,1", *"00000", word, "0"], "eran": ["Affine", f"[[{word}]]", "[0]"]}[kind]
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ConversionError, match="which is not a number"):
        pwlnet.load_network(path)


@pytest.mark.parametrize("line", ["[[" + "1" * 200_000 + "x]]", "[[1]" + " " * 200_000 + "x"])
def test_a_long_damaged_line_is_refused_at_once(line, tmp_path):
    path = tmp_path / "net.eran"
    path.write_text(f"Affine\n{line}\n[0]\n")
    start = time.process_time()
    with pytest.raises(ConversionError, match=r"line 2 of") as caught:
        pwlnet.load_network(path)
    assert time.process_time() - start < 2.0
    assert len(str(caught.value)) < fuzz.LONGEST_SENTENCE


def test_counts_of_many_digits_are_refused_by_a_short_sentence(tmp_path):
    path = tmp_path / "net.nnet"
    path.write_text("\n".join(["1,1,1,1", "1," + "9" * 3000, *"00000", "1", "0"]))
    with pytest.raises(ConversionError, match="positive integers") as caught:
        read_nnet(path)
    assert len(str(caught.value)) < fuzz.LONGEST_SENTENCE


def test_a_standard_deviation_near_zero_is_refused_without_warnings_of_numpy(tmp_path):
    path = tmp_path / "net.eran"
    path.write_text("Normalize mean=[0] std=[1e-320]\nAffine\n[[1]]\n[0]\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PwlnetError, match="not finite"):
            pwlnet.load_network(path)


def test_a_network_that_does_not_fit_into_memory_is_refused(monkeypatch, tmp_path):
    def full(*arguments):
        raise MemoryError("Unable to allocate 7.28 TiB")

    monkeypatch.setattr("pwlnet.convert.lower", full)
    with pytest.raises(pwlnet.errors.CapacityError, match=r"needs more memory than there is .Unable to allocate"):
        pwlnet.load_network(save(build(WIDE, op("Relu", "x")), tmp_path))


def test_the_fuzzer_notices_a_wrong_network_a_wrong_error_a_crash_and_a_hang(monkeypatch, tmp_path):
    def load(path, **options):
        behaviour = {
            0: lambda: 1 / 0,
            1: lambda: os.kill(os.getpid(), signal.SIGKILL),
            2: lambda: [None for _ in iter(int, 1)],
        }.get(len(path.read_bytes()))
        return behaviour() if behaviour else real(path, **options)

    real = pwlnet.load_network
    monkeypatch.setattr(pwlnet, "load_network", load)
    monkeypatch.setattr(fuzz, "CPU_LIMIT", 0.2)
    monkeypatch.setattr(fuzz, "content_of", lambda kind, seed, number: b"x" * number)
    found = [o[1] for o in fuzz.in_children("nnet", 0, range(4), tmp_path) if isinstance(o, tuple)]
    assert found == ["wrong error", "crash", "hang", "refused"]
    monkeypatch.setattr(fuzz, "_by_nnet", lambda path, points, said: np.ones((len(points), 1)))
    path = tmp_path / "right.nnet"
    path.write_text("\n".join(["1,1,1,1", "1,1", *"00000", "1", "0"]))
    assert fuzz.outcome(path, "nnet")[0] == "wrong network"


def test_mutations_of_a_seed_are_the_same_each_time():
    first, again = ([fuzz.content_of(kind, 3, n) for kind in fuzz.KINDS for n in range(5)] for _ in range(2))
    assert first == again
    assert len(set(first)) == len(first)


def test_mutated_models_are_often_still_models():
    models = [fuzz.content_of("onnx", 4, n) for n in range(40)]
    assert sum(_parses(content) for content in models) > 20


def _parses(content):
    try:
        onnx.ModelProto.FromString(content)
    except Exception:
        return False
    return True
