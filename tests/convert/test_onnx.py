"""ONNX files: every operator against onnxruntime and ONNX's reference, shapes of the input, and what is refused."""

import sys

import numpy as np
import pytest

pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper, numpy_helper

from pwlnet.convert.lower import lower
from pwlnet.convert.onnx.file import read_onnx
from pwlnet.convert.onnx.referees import referees
from pwlnet.errors import ConversionError, InputError, PwlnetWarning, ShapeError, UnsupportedOperationError
from pwlnet.loading import load_network
from tests.convert.onnx_models import build, op, run, save
from tests.reference.graph_values import evaluate_rows


@pytest.fixture
def read(tmp_path):
    """Save a model and read it."""
    return lambda model: read_onnx(save(model, tmp_path))


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def case(name, shape, *nodes, **options):
    return pytest.param(shape, nodes, options, id=name)


IMAGE, LINE, WIDE, WHOLE = (1, 2, 5, 6), (1, 2, 9), (1, 4), (2, 3)
W34, KERNEL = values(3, 4), values(4, 2, 3, 2)
STATISTICS = {"s": values(2), "b": values(2, seed=1), "m": values(2, seed=2), "v": np.abs(values(2, seed=3))}
SQUEEZED = (1, 2, 1, 3)

AFFINE = [
    case("gemm", WIDE, op("Gemm", "x w b", transB=1), constants={"w": W34, "b": values(3)}),
    case("gemm-alpha-beta", WIDE, op("Gemm", "x w b", alpha=0.5, beta=2.0), constants={"w": W34.T, "b": values(1, 3)}),
    case("gemm-transA", (4, 2), op("Gemm", "x w", transA=1, transB=1), constants={"w": W34}),
    case("gemm-constant-first", WHOLE, op("Gemm", "w x b"), constants={"w": values(4, 2), "b": values(3)}),
    case("gemm-constant-first-transposed", WHOLE, op("Gemm", "w x", transA=1, transB=1), constants={"w": W34}),
    case("gemm-tensor-bias", (1, 3), op("Gemm", "x w x", beta=0.5), constants={"w": values(3, 3)}),
    case("gemm-only-bias-depends", (1, 3), op("Gemm", "a w x", beta=0.5), constants={"a": values(1, 4), "w": W34.T}),
    case("gemm-old", WIDE, op("Gemm", "x w b", transB=1), constants={"w": W34, "b": values(3)}, opset=9),
    case("matmul", WIDE, op("MatMul", "x w"), constants={"w": W34.T}),
    case("matmul-vector-input", (4,), op("MatMul", "x w"), constants={"w": W34.T}),
    case("matmul-by-vector", WHOLE, op("MatMul", "x w"), constants={"w": values(3)}),
    case("matmul-stack", (2, 3, 4), op("MatMul", "x w"), constants={"w": values(2, 4, 5)}),
    case("matmul-stack-broadcast", (3, 4), op("MatMul", "x w"), constants={"w": values(2, 4, 5)}),
    case("matmul-constant-first", (4, 2), op("MatMul", "w x"), constants={"w": W34}),
    case("matmul-constant-first-vector-input", (4,), op("MatMul", "w x"), constants={"w": W34}),
    case("matmul-vector-first", (4, 2), op("MatMul", "w x"), constants={"w": values(4)}),
    case("matmul-stack-first", (4, 2), op("MatMul", "w x"), constants={"w": values(2, 3, 4)}),
    case("add", IMAGE, op("Add", "x c"), constants={"c": values(2, 1, 1)}),
    case("add-expands", (1, 3), op("Add", "x c"), constants={"c": values(2, 1)}),
    case("sub", IMAGE, op("Sub", "x c"), constants={"c": values(2, 1, 1)}),
    case("sub-from-constant", IMAGE, op("Sub", "c x"), constants={"c": values(2, 1, 1)}),
    case("mul", IMAGE, op("Mul", "x c"), constants={"c": values(6)}),
    case("mul-first", IMAGE, op("Mul", "c x"), constants={"c": values(6)}),
    case("div", IMAGE, op("Div", "x c"), constants={"c": values(2, 1, 1)}),
    case("neg", WIDE, op("Neg", "x")),
    case("add-tensors", WIDE, op("Neg", "x", "n"), op("Relu", "x", "r"), op("Add", "r n")),
    case("sub-tensors", WHOLE, op("Relu", "x", "r"), op("ReduceSum", "x", "t", keepdims=1), op("Sub", "r t")),
    case("sum", WIDE, op("Relu", "x", "r"), op("Sum", "c x r x"), constants={"c": values(4)}),
    case("batch-norm", IMAGE, op("BatchNormalization", "x s b m v", epsilon=0.01), constants=STATISTICS),
    case("batch-norm-old", IMAGE, op("BatchNormalization", "x s b m v"), constants=STATISTICS, opset=7),
    case("batch-norm-vector", (1, 2), op("BatchNormalization", "x s b m v"), constants=STATISTICS),
]
SWITCHING = [
    case("relu", WIDE, op("Relu", "x")),
    case("leaky-relu", WIDE, op("LeakyRelu", "x", alpha=0.3)),
    case("leaky-relu-default", WIDE, op("LeakyRelu", "x")),
    case("prelu", IMAGE, op("PRelu", "x s"), constants={"s": values(2, 1, 1)}),
    case("clip-inputs", WIDE, op("Clip", "x a b"), constants={"a": np.float32(-0.5), "b": np.float32(0.25)}),
    case("clip-lower", WIDE, op("Clip", "x a"), constants={"a": np.float32(-0.5)}),
    case("clip-upper", WIDE, op("Clip", "x - b"), constants={"b": np.float32(0.5)}),
    case("clip-nothing", WIDE, op("Clip", "x")),
    case("clip-attributes", WIDE, op("Clip", "x", min=0.0, max=0.5), opset=6),
    case("clip-by-tensor", (2, 1), op("ReduceSum", "x", "t", keepdims=0), op("Clip", "x t")),
    case("abs", WIDE, op("Abs", "x")),
    case("hard-sigmoid", WIDE, op("HardSigmoid", "x", alpha=0.5)),
    case("max-scalar", WIDE, op("Max", "x c"), constants={"c": np.float32(0.1)}),
    case("max-vector", WIDE, op("Max", "c x"), constants={"c": values(4)}),
    case("min-scalar", WIDE, op("Min", "c x"), constants={"c": np.float32(0.1)}),
    case("min-vector", WIDE, op("Min", "x c"), constants={"c": values(4)}),
    case("max-no-bound", WIDE, op("Max", "x c"), constants={"c": np.float32(-np.inf)}),
    case("max-of-many", WIDE, op("Neg", "x", "n"), op("Max", "x c n d"), constants={"c": values(4), "d": values(1)}),
    case("min-of-tensors", WIDE, op("Mul", "x c", "n"), op("Min", "x n"), constants={"c": values(4)}),
    case("reduce-max", IMAGE, op("ReduceMax", "x", axes=[2], keepdims=0)),
    case("reduce-min", IMAGE, op("ReduceMin", "x", axes=[1, 3])),
]
WINDOWS = [
    case("conv", IMAGE, op("Conv", "x w b"), constants={"w": KERNEL, "b": values(4)}),
    case("conv-pads", IMAGE, op("Conv", "x w", pads=[0, 2, 1, 1], strides=[2, 1]), constants={"w": KERNEL}),
    case("conv-dilated", IMAGE, op("Conv", "x w", dilations=[2, 3], pads=[1, 1, 0, 2]), constants={"w": KERNEL}),
    case("conv-groups", IMAGE, op("Conv", "x w", group=2), constants={"w": values(4, 1, 2, 2)}),
    case("conv-same-upper", IMAGE, op("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 3]), constants={"w": KERNEL}),
    case("conv-same-lower", IMAGE, op("Conv", "x w", auto_pad="SAME_LOWER"), constants={"w": KERNEL}),
    case("conv-valid", IMAGE, op("Conv", "x w", auto_pad="VALID"), constants={"w": KERNEL}),
    case("conv-1d", LINE, op("Conv", "x w", strides=[2], pads=[2, 1]), constants={"w": values(3, 2, 4)}),
    case(
        "conv-transpose",
        IMAGE,
        op("ConvTranspose", "x w", strides=[2, 3], pads=[1, 0, 0, 1]),
        constants={"w": values(2, 3, 3, 2)},
    ),
    case(
        "conv-transpose-output-padding",
        IMAGE,
        op("ConvTranspose", "x w b", strides=[3, 2], output_padding=[2, 1], group=2, dilations=[1, 2]),
        constants={"w": values(2, 2, 2, 2), "b": values(4)},
    ),
    case(
        "conv-transpose-output-shape",
        IMAGE,
        op("ConvTranspose", "x w", strides=[2, 2], output_shape=[10, 12]),
        constants={"w": values(2, 1, 3, 3)},
    ),
    case(
        "conv-transpose-same",
        IMAGE,
        op("ConvTranspose", "x w", strides=[2, 2], auto_pad="SAME_UPPER"),
        constants={"w": values(2, 1, 3, 3)},
    ),
    case(
        "conv-transpose-1d",
        LINE,
        op("ConvTranspose", "x w", strides=[2], pads=[1, 0]),
        constants={"w": values(2, 3, 4)},
    ),
    case("max-pool", IMAGE, op("MaxPool", "x", kernel_shape=[2, 3], strides=[2, 2], pads=[1, 1, 0, 1])),
    case("max-pool-default-stride", IMAGE, op("MaxPool", "x", kernel_shape=[2, 2])),
    case("max-pool-ceil", IMAGE, op("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 4], ceil_mode=1)),
    case("max-pool-dilated", IMAGE, op("MaxPool", "x", kernel_shape=[2, 2], dilations=[3, 2])),
    case("max-pool-same", IMAGE, op("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")),
    case("max-pool-1d", LINE, op("MaxPool", "x", kernel_shape=[3], strides=[3])),
    case("average-pool", IMAGE, op("AveragePool", "x", kernel_shape=[2, 3], strides=[1, 2], pads=[1, 1, 0, 1])),
    case(
        "average-pool-count-pad",
        IMAGE,
        op("AveragePool", "x", kernel_shape=[2, 3], pads=[1, 1, 0, 1], count_include_pad=1),
    ),
    case("average-pool-ceil", IMAGE, op("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 4], ceil_mode=1)),
    case("average-pool-same", IMAGE, op("AveragePool", "x", kernel_shape=[3, 3], auto_pad="SAME_LOWER", strides=[2, 2])),
    case("average-pool-1d", LINE, op("AveragePool", "x", kernel_shape=[2])),
    case("global-average-pool", IMAGE, op("GlobalAveragePool", "x")),
    case("global-max-pool", IMAGE, op("GlobalMaxPool", "x")),
    case("resize-scales", IMAGE, op("Resize", "x - s"), constants={"s": np.array([1, 1, 2, 3.0])}),
    case("resize-sizes", IMAGE, op("Resize", "x - - s"), constants={"s": [1, 2, 10, 12]}),
    case(
        "resize-torch",
        IMAGE,
        op("Resize", "x - s", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
        constants={"s": np.array([1, 1, 2, 2.0])},
    ),
    *(
        case(
            f"resize-{rule}-{rounding}",
            IMAGE,
            op("Resize", "x - s", coordinate_transformation_mode=rule, nearest_mode=rounding),
            constants={"s": np.array([1, 1, 3, 2.0])},
        )
        for rule, rounding in [
            ("align_corners", "ceil"),
            ("half_pixel", "round_prefer_ceil"),
            ("pytorch_half_pixel", "floor"),
            ("pytorch_half_pixel", "round_prefer_floor"),
        ]
    ),
    case("resize-axes", IMAGE, op("Resize", "x - s", axes=[3]), constants={"s": np.array([2.0])}, opset=18),
    case("resize-10", IMAGE, op("Resize", "x s"), constants={"s": np.array([1, 1, 3, 2.0])}, opset=10),
    case("upsample", IMAGE, op("Upsample", "x s"), constants={"s": np.array([1, 1, 3, 2.0])}, opset=9),
    case("upsample-attribute", IMAGE, op("Upsample", "x", scales=[1.0, 1.0, 2.0, 2.0]), opset=7),
]
LAYOUT = [
    case("reduce-mean", IMAGE, op("ReduceMean", "x", axes=[2, 3], keepdims=0)),
    case("reduce-mean-axes-input", IMAGE, op("ReduceMean", "x a"), constants={"a": [-1]}, opset=18),
    case("reduce-mean-of-nothing", IMAGE, op("ReduceMean", "x", noop_with_empty_axes=1), opset=18),
    case("reduce-sum-all", WHOLE, op("ReduceSum", "x")),
    case("reduce-sum-old", IMAGE, op("ReduceSum", "x", axes=[1]), opset=11),
    case("flatten", IMAGE, op("Flatten", "x")),
    case("flatten-axis", (2, 2, 3), op("Flatten", "x", axis=-1)),
    case("reshape", IMAGE, op("Reshape", "x s"), constants={"s": [0, -1, 3]}),
    case("squeeze-attribute", SQUEEZED, op("Squeeze", "x", axes=[2]), opset=11),
    case("squeeze-input", SQUEEZED, op("Squeeze", "x a"), constants={"a": [-2]}),
    case("squeeze-all", SQUEEZED, op("Squeeze", "x")),
    case("unsqueeze-attribute", WHOLE, op("Unsqueeze", "x", axes=[1, 3]), opset=11),
    case("unsqueeze-input", WHOLE, op("Unsqueeze", "x a"), constants={"a": [-1, 0]}),
    case("transpose", IMAGE, op("Transpose", "x", perm=[0, 2, 3, 1])),
    case("transpose-default", WHOLE, op("Transpose", "x")),
    case("slice-attributes", IMAGE, op("Slice", "x", starts=[1, -3], ends=[4, 100], axes=[2, 3]), opset=9),
    case(
        "slice-backwards",
        IMAGE,
        op("Slice", "x a b c d"),
        constants={"a": [-1, 1], "b": [-(2**62), 6], "c": [2, 3], "d": [-2, 3]},
    ),
    case("gather", IMAGE, op("Gather", "x i", axis=2), constants={"i": [[0, -1], [2, 2]]}),
    case("gather-scalar", IMAGE, op("Gather", "x i", axis=1), constants={"i": np.int64(1)}),
    case("expand", (1, 3), op("Expand", "x s"), constants={"s": [2, 4, 1]}),
    case("tile", WHOLE, op("Tile", "x s"), constants={"s": [2, 3]}),
    case("split", IMAGE, op("Split", "x s", "a b", axis=3), op("Add", "a a"), constants={"s": [4, 2]}),
    case("split-attribute", IMAGE, op("Split", "x", "a y", axis=3, split=[1, 5]), opset=11),
    case("split-num-outputs", IMAGE, op("Split", "x", "a b", axis=2, num_outputs=2), op("Relu", "b"), opset=18),
    case("depth-to-space", (1, 8, 2, 3), op("DepthToSpace", "x", blocksize=2)),
    case("depth-to-space-crd", (1, 8, 2, 3), op("DepthToSpace", "x", blocksize=2, mode="CRD")),
    case("space-to-depth", (1, 2, 4, 6), op("SpaceToDepth", "x", blocksize=2)),
    case("trilu", (3, 3), op("Trilu", "x", upper=0)),
    case("concat", IMAGE, op("Relu", "x", "r"), op("Concat", "x r x", axis=1)),
    case("concat-constants", WIDE, op("Concat", "c x d", axis=1), constants={"c": values(1, 2), "d": values(1, 1)}),
    case("pad", IMAGE, op("Pad", "x p v"), constants={"p": [0, 0, 1, 0, 0, 1, 0, 2], "v": np.float32(0.5)}),
    case("pad-attributes", IMAGE, op("Pad", "x", pads=[0, 0, 1, 0, 0, 1, 0, 2], value=0.5), opset=10),
    case("pad-crops", IMAGE, op("Pad", "x p"), constants={"p": [0, 0, -1, 1, 0, 0, 0, -2]}),
    case("pad-reflect", IMAGE, op("Pad", "x p", mode="reflect"), constants={"p": [0, 0, 2, 1, 0, 0, 1, 3]}),
    case("pad-edge", IMAGE, op("Pad", "x p", mode="edge"), constants={"p": [0, 0, 2, 1, 0, 0, 1, 3]}),
    case("pad-axes", IMAGE, op("Pad", "x p - a"), constants={"p": [1, 2, 3, 0], "a": [3, -2]}, opset=18),
    case("where", WHOLE, op("Where", "c x d"), constants={"c": values(2, 3) > 0, "d": values(3)}),
    case("where-two-tensors", WHOLE, op("Neg", "x", "n"), op("Where", "c n x"), constants={"c": values(3) > 0}),
    case("identity", WIDE, op("Identity", "x")),
    case("dropout", WIDE, op("Dropout", "x")),
    case("dropout-old", WIDE, op("Dropout", "x", ratio=0.4), opset=9),
    case("dropout-not-training", WIDE, op("Dropout", "x r t"), constants={"r": np.float32(0.5), "t": np.array(False)}),
    case("cast", WIDE, op("Cast", "x", to=TensorProto.FLOAT)),
    case("cast-like", WIDE, op("CastLike", "x c"), constants={"c": np.zeros(1)}, opset=15),
]


@pytest.mark.parametrize(("shape", "nodes", "options"), AFFINE + SWITCHING + WINDOWS + LAYOUT)
def test_an_operator_agrees_with_onnxruntime_and_the_reference(shape, nodes, options, tmp_path):
    pytest.importorskip("onnxruntime")
    model = build(shape, *nodes, **options)
    path = save(model, tmp_path)
    graph = read_onnx(path)
    network = lower(graph)
    assert network.input_shape == (shape if shape[0] != 1 or len(shape) == 1 else shape[1:])
    rows = values(7, int(np.prod(shape)), seed=5).astype(np.float32).astype(np.float64)
    outputs, single = evaluate_rows(graph, rows), run(model, rows, shape)
    np.testing.assert_allclose(network.forward(rows), outputs, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(outputs, single, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(single).max()))
    in_float64, by_onnxruntime = referees(path)
    try:
        reference = in_float64.forward(rows)
    except Exception:  # operators that it is known not to evaluate
        assert nodes[-1].op_type in ("MaxPool", "AveragePool", "ConvTranspose", "Resize", "Upsample", "Pad")
    else:
        np.testing.assert_allclose(outputs, reference, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(by_onnxruntime.forward(rows), single, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(single).max()))


def test_old_files_broadcast_along_an_axis(tmp_path):
    node = op("Add", "x c", broadcast=1, axis=1)
    path = save(build(IMAGE, node, opset=6, constants={"c": np.array([1.0, 2.0])}), tmp_path)
    outputs = evaluate_rows(read_onnx(path), np.zeros((1, 60)))
    np.testing.assert_array_equal(outputs[0], np.repeat([1.0, 2.0], 30))
    with pytest.warns(PwlnetWarning, match=r"not compared with its source \(onnx.reference in float64: TypeError"):
        load_network(path)


def test_old_batch_norms_may_have_statistics_for_each_entry(read):
    statistics = {name: np.abs(values(2, 3, seed=k)) for k, name in enumerate("sbmv")}
    network = lower(read(build((1, 2, 3), op("BatchNormalization", "x s b m v", spatial=0), opset=7, constants=statistics)))
    s, b, m, v = (statistics[name].astype(np.float32).astype(np.float64) for name in "sbmv")
    x = values(2, 3)
    expected = s * (x - m) / np.sqrt(v + float(np.float32(0.00001))) + b
    np.testing.assert_allclose(network.forward(x[None]), expected.reshape(1, 6), rtol=1e-14)


def flatten_chain():
    """Shape, Gather, Unsqueeze, Concat and Reshape: how PyTorch wrote ``x.view(x.size(0), -1)``."""
    return (
        op("Relu", "x", "r"),
        op("Shape", "r", "shape"),
        op("Gather", "shape zero", "n", axis=0),
        op("Unsqueeze", "n", "n1", axes=[0]),
        op("Unsqueeze", "minus", "m1", axes=[0]),
        op("Concat", "n1 m1", "target", axis=0),
        op("Reshape", "r target"),
    )


def test_an_exported_flatten_chain_becomes_one_layout(read):
    model = build(("N", 2, 3), *flatten_chain(), opset=9, constants={"zero": np.int64(0), "minus": np.int64(-1)})
    assert [node.kind for node in read(model).nodes] == ["input", "relu", "layout"]


def test_an_expand_chain_with_where_and_constant_of_shape_is_folded(read):
    nodes = (
        op("Shape", "x", "shape"),
        op("Slice", "shape one two", "rows"),
        op("ConstantOfShape", "one", "ones", value=numpy_helper.from_array(np.array([1], np.int64))),
        op("Mul", "ones minus", "minuses"),
        op("Concat", "two_ rows", "wanted", axis=0),
        op("Equal", "wanted minuses", "open"),
        op("Where", "open ones wanted", "target"),
        op("Cast", "target", "floats", to=TensorProto.FLOAT),
        op("Cast", "floats", "ints", to=TensorProto.INT64),
        op("Range", "start stop step", "range"),
        op("Expand", "x ints", "e"),
        op("Add", "e range"),
    )
    floats = {"start": np.float32(0), "stop": np.float32(3), "step": np.float32(1)}
    constants = {"one": [1], "two": [2], "two_": [2], "minus": [-1], **floats}
    graph = read(build((1, 3), *nodes, constants=constants))
    assert graph.output.shape == (2, 3)
    rows = values(3, 3)
    expected = np.tile(rows[:, None], (1, 2, 1)) + np.arange(3.0)
    np.testing.assert_allclose(evaluate_rows(graph, rows), expected.reshape(3, 6), rtol=1e-15)


def test_a_convolution_between_transposes_reads_channels_last(read):
    constants = {"w": values(3, 2, 2, 2)}
    nodes = (
        op("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        op("Conv", "t w", "c"),
        op("Relu", "c", "r"),
        op("Transpose", "r", "b", perm=[0, 2, 3, 1]),
        op("Flatten", "b"),
    )
    model = build((1, 4, 5, 2), *nodes, constants=constants)
    rows = values(3, 40)
    network = lower(read(model))
    np.testing.assert_allclose(network.forward(rows), run(model, rows, (1, 4, 5, 2)), rtol=1e-5, atol=1e-5)


def test_nodes_may_stand_in_any_order(read):
    model = build(WIDE, op("Relu", "h"), op("MatMul", "x w", "h"), constants={"w": W34.T})
    assert lower(read(model)).n_neurons == 3


def test_nodes_that_the_output_does_not_need_are_ignored(read):
    model = build(WIDE, op("Relu", "x"), op("Sigmoid", "x", "unused"))
    assert lower(read(model)).n_neurons == 4


def test_local_functions_are_inlined(read):
    function = helper.make_function("local", "Twice", ["a"], ["b"], [op("Add", "a a", "b")], [helper.make_opsetid("", 17)])
    model = build(WIDE, op("Twice", "x", domain="local"))
    model.functions.append(function)
    np.testing.assert_array_equal(evaluate_rows(read(model), np.ones((1, 4))), np.full((1, 4), 2.0))


# Weights.


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
def test_weights_of_any_float_type_are_read_exactly(kind, read):
    weight = np.array([[1.0, -0.375], [0.0078125, 3.0]])
    model = build((1, 2), op("Gemm", "x w"), elem_type=kind)
    model.graph.initializer.append(helper.make_tensor("w", kind, [2, 2], weight.ravel()))
    np.testing.assert_array_equal(evaluate_rows(read(model), np.eye(2)), weight)


def test_float32_weights_keep_their_value(read):
    weight = np.float32([[0.1]])
    network = lower(read(build((1, 1), op("MatMul", "x w"), constants={"w": weight})))
    assert network.forward(np.ones((1, 1)))[0, 0] == float(weight[0, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(bad, read):
    weight = W34.copy()
    weight[1, 2] = bad
    with pytest.raises(InputError, match=r"initializer 'w' of .* has 1 entries that are not finite"):
        read(build(WIDE, op("Gemm", "x w", transB=1), constants={"w": weight}))


def test_a_constant_node_that_is_not_finite_is_refused_by_name(read):
    constant = op("Constant", "", "c", value_floats=[1.0, float("nan"), 0.0, 2.0])
    with pytest.raises(InputError, match="constant 'c' of node 'add_y' has 1 entries"):
        read(build(WIDE, constant, op("Add", "x c")))


@pytest.mark.parametrize(
    ("node", "constant", "message"),
    [
        (op("Div", "x c"), np.array([1.0, 0, 1, 1]), "'div_y' divides by 'c', which holds a zero"),
        (op("Max", "x c"), np.float32(np.inf), "'max_y' compares with values that are not finite"),
        (op("Add", "x c"), np.float32(-np.inf), "constant 'c' of node 'add_y' has 1 entries that are not finite"),
        (op("Clip", "x c"), np.float32(np.nan), "initializer 'c' of .* has 1 entries that are not finite"),
    ],
)
def test_constants_that_make_no_network_are_refused(node, constant, message, read):
    with pytest.raises(InputError, match=message):
        read(build(WIDE, node, constants={"c": constant}))


def test_weights_that_no_needed_node_reads_are_ignored(read):
    model = build(WIDE, op("Relu", "x"), constants={"unused": np.array([np.nan])})
    assert lower(read(model)).n_neurons == 4


def test_infinite_bounds_of_a_clip_are_no_bounds(read):
    model = build(WIDE, op("Clip", "x a b"), constants={"a": np.float32(-np.inf), "b": np.float32(1.0)})
    np.testing.assert_array_equal(evaluate_rows(read(model), [[-9.0, 0, 1, 2]]), [[-9.0, 0, 1, 1]])


def test_weights_in_another_file_are_read_from_beside_the_model(tmp_path):
    path = tmp_path / "net.onnx"
    model = build(WIDE, op("MatMul", "x w"), constants={"w": W34.T})
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert lower(read_onnx(path)).n_outputs == 3
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ConversionError, match=r"keeps weights in another file that can't be read .*weights\.bin"):
        read_onnx(path)


# The input's shape.


@pytest.mark.parametrize(
    ("declared", "asked", "shape", "batched"),
    [
        ((1, 3), None, (1, 3), True),
        (("N", 3), None, (1, 3), True),
        ((0, 3), None, (1, 3), True),
        ((None, 3), None, (1, 3), True),
        ((3,), None, (3,), False),
        ((1,), None, (1,), False),
        ((2, 2), None, (2, 2), False),
        ((2, 3), (2, 3), (2, 3), False),
        ((32, 3), (3,), (1, 3), True),
        (("N", "M"), (3,), (1, 3), True),
        (("N",), (3,), (3,), False),
        (("N", 3), 3, (1, 3), True),
        (None, (3,), (1, 3), True),
    ],
)
def test_which_axis_of_the_input_is_the_batch(declared, asked, shape, batched, tmp_path):
    path = save(build(declared, op("Relu", "x")), tmp_path)
    graph = read_onnx(path, asked)
    assert (graph.input.shape, graph.batched) == (shape, batched)
    network = lower(graph)
    rows = values(2, network.n_inputs)
    np.testing.assert_array_equal(next(referees(path, asked)).forward(rows), network.forward(rows))


@pytest.mark.parametrize(
    ("declared", "asked", "message"),
    [
        (("N", "C", 4), None, r"shape \['N', 'C', 4\], which leaves dimensions open; pass input_shape"),
        (("N",), None, "leaves dimensions open"),
        (None, None, "without a shape; pass input_shape"),
        (("N", 3), (4,), r"input_shape is \(4,\), but .* shape \['N', 3\], batch axis first"),
        ((1, 3), (1, 3), "leave input_shape out or make them agree"),
        ((3,), (4,), r"input_shape is \(4,\)"),
        ((1, 1, 4, 4), (16,), r"input_shape is \(16,\)"),
    ],
)
def test_an_input_shape_that_is_missing_or_contradicts_the_file_is_refused(declared, asked, message, tmp_path):
    with pytest.raises(ShapeError, match=message):
        read_onnx(save(build(declared, op("Relu", "x")), tmp_path), asked)


# What is refused, and why.


REFUSED = [
    case("not piecewise linear", WIDE, op("Sigmoid", "x", "s"), op("Neg", "s")),
    case("not piecewise linear", WIDE, op("Tanh", "x")),
    case("not piecewise linear", WIDE, op("Softmax", "x", "s"), op("Relu", "s")),
    case("a product of two values", WIDE, op("Mul", "x x")),
    case("a product of two values", (2, 2), op("MatMul", "x x")),
    case("a product of two values", (2, 2), op("Gemm", "x x")),
    case("a division by a value", WIDE, op("Div", "c x"), constants={"c": np.float32(1)}),
    case("not continuous", WIDE, op("Floor", "x")),
    case(
        "not a? ?floating point",
        WIDE,
        op("Cast", "x", "i", to=TensorProto.INT64),
        op("Cast", "i", to=TensorProto.FLOAT),
    ),
    case("which is not linear and has no exact conversion", (1, 2, 2), op("Det", "x")),
    case("not an operator of standard ONNX", WIDE, op("FusedGemm", "x", domain="com.microsoft")),
    case("with p=2", IMAGE, op("LpPool", "x", kernel_shape=[2, 2])),
    case("drops entries at random", WIDE, op("Dropout", "x r t"), constants={"r": np.float32(0.5), "t": np.array(True)}),
    case(
        "statistics of its batch",
        IMAGE,
        op("BatchNormalization", "x s b m v", "y n o", training_mode=1),
        constants=STATISTICS,
    ),
    case(
        "larger than the kernel",
        (1, 1, 5, 5),
        op("MaxPool", "x", auto_pad="SAME_UPPER", kernel_shape=[1, 2], strides=[3, 3]),
    ),
    case(
        "larger than the kernel",
        (1, 1, 5, 5),
        op("ConvTranspose", "x w", auto_pad="SAME_UPPER", strides=[3, 3]),
        constants={"w": values(1, 1, 2, 2)},
    ),
    case(
        "SAME_LOWER with a dilation",
        (1, 1, 5, 5),
        op("MaxPool", "x", auto_pad="SAME_LOWER", kernel_shape=[2, 2], dilations=[2, 1]),
    ),
    case("not floating point", WIDE, op("CastLike", "x c"), constants={"c": [1]}),
    case("which is random", WIDE, op("RandomNormalLike", "x", "n"), op("Add", "x n")),
    case("which is random", WIDE, op("RandomNormal", "", "n", shape=[4]), op("Add", "x n")),
    case(
        "reads a second output",
        IMAGE,
        op("MaxPool", "x", "p i", kernel_shape=[2, 2]),
        op("Cast", "i", to=TensorProto.FLOAT),
    ),
    case("whose slope depends", WIDE, op("PRelu", "x x")),
    case("whose weight depends", (1, 1, 2, 2), op("Conv", "x x")),
    case("whose input 'i' depends", (2,), op("Cast", "x", "i", to=TensorProto.FLOAT), op("Tile", "x i")),
]


@pytest.mark.parametrize(("shape", "nodes", "options"), REFUSED)
def test_what_cannot_be_converted_is_refused_by_name_with_the_reason(shape, nodes, options, request, read):
    reason = request.node.callspec.id.rstrip("0123456789")
    with pytest.raises(UnsupportedOperationError, match=rf"node '\w+' is [\w.]+, .*{reason}"):
        read(build(shape, *nodes, **options))


def test_an_if_on_an_activation_is_refused_with_that_reason(read):
    branch = helper.make_graph([op("Relu", "x", "b")], "branch", [], [helper.make_tensor_value_info("b", 1, None)])
    nodes = op("Greater", "x z", "c"), op("If", "c", then_branch=branch, else_branch=branch)
    with pytest.raises(UnsupportedOperationError, match="'if_y' is If, which branches on a value that depends on the network"):
        read(build(WIDE, *nodes, constants={"z": np.float32(0)}))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            build(WIDE, op("Relu", "x"), op("Neg", "x", "z"), output="y z"),
            r"has 2 outputs .'y' of shape .*, 'z' of shape .*such as outputs=0 or outputs='y'",
        ),
        (build(WIDE, op("Constant", "", "y", value_floats=[1.0])), "output 'y', which does not depend on its input"),
        (build(WIDE, op("Shape", "x", "s"), op("Cast", "s", to=1)), "output 'y', which does not depend on its input"),
        (build(WIDE, op("Add", "x w")), "node 'add_y' of .* reads 'w', which nothing makes"),
        (build(WIDE, op("Add", "x z", "y"), op("Relu", "y", "z")), "reads its own output"),
        (build(WIDE, op("Relu", "x"), elem_type=TensorProto.INT64), "input 'x' of type INT64; a network needs a float"),
        (
            build(WIDE, op("Reshape", "x s"), constants={"s": [3, 3]}),
            "node 'reshape_y' is Reshape and can't be evaluated",
        ),
        (
            build(IMAGE, op("Pad", "x p"), constants={"p": [1, 2]}),
            "'pad_y' pads 4 axes by .*must have two numbers per axis",
        ),
        (build(WIDE, op("Gemm", "x w"), constants={"w": W34}), r"'gemm_y' has weight of shape \(4, 3\)"),
    ],
)
def test_what_is_not_a_network_is_refused_in_a_sentence(model, message, read):
    with pytest.raises(ConversionError, match=message):
        read(model)


def test_a_second_input_is_refused_only_where_it_is_used(read):
    model = build(WIDE, op("Relu", "x"))
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, WIDE))
    assert lower(read(model)).n_inputs == 4
    model.graph.node[0].CopyFrom(op("Add", "x z"))
    with pytest.raises(ConversionError, match=r"has 2 inputs \('x', 'z'\); a network needs one"):
        read(model)


@pytest.mark.parametrize("content", [b"", b"not a network\n", b"{}", b"\x08\x07", None])
def test_a_file_that_is_no_onnx_file_gets_one_clear_sentence(content, tmp_path):
    path = save(build(WIDE, op("MatMul", "x w"), constants={"w": W34.T}), tmp_path)
    path.write_bytes(path.read_bytes()[:100] if content is None else content)
    with pytest.raises(ConversionError, match=r"net\.onnx is not a readable ONNX file \(.*\); check the path, or export"):
        read_onnx(path)


def test_a_missing_file_gets_one_clear_sentence(tmp_path):
    with pytest.raises(ConversionError, match=r"no\.onnx is not a readable ONNX file \(No such file or directory\)"):
        read_onnx(tmp_path / "no.onnx")


# Softmax at the end.


@pytest.mark.parametrize("tail", [["Softmax"], ["LogSoftmax"], ["Softmax", "ArgMax"], ["Softmax", "Identity"]])
def test_a_decision_at_the_end_is_dropped_with_a_warning(tail, tmp_path):
    names = ["h", *(f"t{k}" for k in range(1, len(tail))), "y"]
    options = {"ArgMax": {"axis": 1}}
    nodes = [op(kind, a, b, **options.get(kind, {})) for kind, a, b in zip(tail, names, names[1:], strict=False)]
    path = save(build(WIDE, op("MatMul", "x w", "h"), *nodes, constants={"w": W34.T}), tmp_path)
    with pytest.warns(PwlnetWarning, match="dropped; the network computes the logits: the largest is the predicted") as caught:
        network = lower(read_onnx(path))
    assert len(caught) == 1
    assert all(f"({kind})" in str(caught[0].message) for kind in tail if kind != "Identity")
    rows = values(3, 4)
    np.testing.assert_allclose(network.forward(rows), next(referees(path)).forward(rows), rtol=1e-12)


def test_where_the_reference_is_not_reliable_onnxruntime_evaluates_up_to_the_same_tensor(tmp_path):
    pytest.importorskip("onnxruntime")
    pool = op("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 4], ceil_mode=1)
    path = save(build(IMAGE, pool, op("Flatten", "p", "f"), op("Softmax", "f")), tmp_path)
    with pytest.warns(PwlnetWarning, match=r"'softmax_y' \(Softmax\) at the end was dropped"):
        graph = read_onnx(path)
    reference, onnxruntime = referees(path)
    rows = values(3, 60).astype(np.float32)
    with pytest.raises(NotImplementedError, match="known to be wrong"):
        reference.forward(rows)
    np.testing.assert_array_equal(onnxruntime.forward(rows), evaluate_rows(graph, rows))


def test_reading_onnx_does_not_need_onnxruntime(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = save(build(WIDE, op("Relu", "x")), tmp_path)
    np.testing.assert_array_equal(next(referees(path)).forward([[-1.0, 0, 1, 2]]), [[0.0, 0, 1, 2]])
