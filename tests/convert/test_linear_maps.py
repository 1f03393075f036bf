"""Linear maps without an op of their own: resizing, volumes, sparse matrices, and matrices found by basis vectors."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import nn

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.linear_maps import along_axis, sparse_linear
from pwlnet.convert.lower import lower
from pwlnet.convert.numeric import NotAffine, find_affine
from pwlnet.convert.onnx.file import read_onnx
from pwlnet.errors import ConversionError, PwlnetWarning, UnsupportedOperationError
from pwlnet.kernels.ir import program as ir
from tests.convert.onnx_models import build, op, save
from tests.convert.test_torch import Function, agrees, seeded
from tests.counts import few

# Sparse matrices and matrices along an axis.


def network_of(build_output, shape):
    graph = Graph((1, *shape), batched=True)
    graph.output = build_output(graph, graph.input)
    return lower(graph)


def random_matrix(rng, rows, columns, widest):
    """A sparse matrix with rows of 0 to ``widest`` entries, integers, some given twice."""
    counts = rng.integers(0, widest + 1, rows)
    place = np.repeat(np.arange(rows), counts), rng.integers(0, columns, counts.sum())
    return sparse.csr_array((rng.integers(-3, 4, counts.sum()).astype(float), place), shape=(rows, columns))


@pytest.mark.parametrize("case", range(few(100, quick=10)))
def test_a_sparse_map_computes_the_product_with_its_matrix_exactly(case):
    rng = np.random.default_rng(case)
    rows, columns, widest = int(rng.integers(1, 40)), int(rng.integers(1, 60)), int(rng.integers(0, 6))
    matrix, shift = random_matrix(rng, rows, columns, widest), rng.integers(-2, 3, rows) * (case % 2)
    if case % 3 == 0 and rows > 2:  # one row that reads much more than the others
        matrix = sparse.vstack([matrix, sparse.csr_array(rng.integers(-3, 4, (1, columns)).astype(float))]).tocsr()
        rows, shift = rows + 1, np.append(shift, 0)
    points = rng.integers(-8, 9, (3, columns)).astype(float)
    try:
        network = network_of(lambda g, x: sparse_linear(g, x, matrix, (rows,), shift, name="map"), (columns,))
    except ConversionError:
        assert not matrix.count_nonzero()
        return
    np.testing.assert_array_equal(network.forward(points), points @ matrix.toarray().T + shift)


def test_a_sparse_map_stores_its_entries_and_not_the_dense_matrix():
    n = 400
    matrix = sparse.diags_array([np.arange(1.0, n), np.full(n, 2.0)], offsets=[1, 0]).tocsr()
    network = network_of(lambda g, x: sparse_linear(g, x, matrix, (n,), name="map"), (n,))
    assert sum(array.nbytes for array in network.program) < n * n
    points = np.random.default_rng(0).integers(-9, 9, (2, n)).astype(float)
    np.testing.assert_array_equal(network.forward(points), points @ matrix.toarray().T)


@pytest.mark.parametrize("kind", ["copies", "dense", "banded"])
def test_a_matrix_along_an_axis_is_stored_once_for_all_other_positions(kind):
    rng = np.random.default_rng(0)
    n, m = (150, 300) if kind == "banded" else (5, 7)
    if kind == "copies":
        matrix = np.eye(n)[rng.integers(0, n, m)]
        matrix[2] = 0.0
    elif kind == "dense":
        matrix = rng.integers(-3, 4, (m, n)).astype(float)
    else:
        matrix = np.zeros((m, n))
        first = np.minimum(np.arange(m) // 2, n - 2)
        matrix[np.arange(m), first], matrix[np.arange(m), first + 1] = 1.0, rng.integers(-3, 4, m)
    network = network_of(lambda g, x: along_axis(g, x, matrix, 2, name="map"), (3, n, 2))
    points = rng.integers(-8, 9, (2, 3, n, 2)).astype(float)
    np.testing.assert_array_equal(network.forward(points), np.einsum("mn,bcnk->bcmk", matrix, points).reshape(2, -1))
    assert network.program.weights.size <= {"copies": 0, "dense": m * n, "banded": m * n // 4}[kind]


# torch.


def resize(**options):
    return Function(lambda x: F.interpolate(x, **options))


def sample(mode, padding, space=2):
    grid = torch.rand(1, *(3, 4, 2)[:space], space, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2.6 - 1.3
    return Function(lambda x: F.grid_sample(x, grid.to(x.dtype), mode=mode, padding_mode=padding, align_corners=False))


VOLUME = (2, 4, 5, 6)
LAYERS = {
    "linear": (resize(size=9, mode="linear"), (2, 5)),
    "linear, corners": (resize(scale_factor=1.7, mode="linear", align_corners=True), (2, 5)),
    "bilinear": (resize(scale_factor=2, mode="bilinear"), (2, 3, 4)),
    "bilinear, corners": (resize(size=(7, 2), mode="bilinear", align_corners=True), (2, 3, 4)),
    "bilinear, scales that are kept": (resize(scale_factor=(1.7, 0.6), mode="bilinear"), (1, 5, 6)),
    "bilinear, scales that are not": (resize(scale_factor=(1.7, 0.6), mode="bilinear", recompute_scale_factor=True), (1, 5, 6)),
    "bilinear, antialias": (resize(size=(3, 9), mode="bilinear", antialias=True), (1, 8, 6)),
    "bicubic": (resize(size=(7, 3), mode="bicubic"), (1, 4, 5)),
    "bicubic, antialias": (resize(size=(3, 9), mode="bicubic", antialias=True), (1, 8, 6)),
    "trilinear": (resize(size=(3, 7, 6), mode="trilinear"), (1, 4, 5, 3)),
    "area": (resize(size=(4, 3), mode="area"), (2, 6, 7)),
    "nearest of volumes": (resize(scale_factor=2, mode="nearest"), (1, 2, 3, 2)),
    "UpsamplingBilinear2d": (nn.UpsamplingBilinear2d(scale_factor=2), (2, 3, 4)),
    "grid": (sample("bilinear", "zeros"), (3, 5, 6)),
    "cubic grid": (sample("bicubic", "border"), (1, 5, 6)),
    "nearest grid": (sample("nearest", "reflection"), (1, 5, 6)),
    "grid of volumes": (sample("bilinear", "zeros", 3), (1, 3, 4, 3)),
    "Fold": (nn.Fold((5, 6), 3, padding=1, stride=2), (18, 9)),
    "Unfold": (nn.Unfold(2, padding=1), (2, 3, 4)),
    "Conv3d": (nn.Conv3d(2, 4, (3, 2, 3), stride=(2, 3, 1), padding=(1, 0, 2), dilation=(1, 2, 1), groups=2), VOLUME),
    "Conv3d same": (nn.Conv3d(2, 3, (2, 3, 1), padding="same", dilation=(2, 1, 1)), VOLUME),
    "Conv3d circular": (nn.Conv3d(2, 3, 3, padding=1, padding_mode="circular"), VOLUME),
    "ConvTranspose3d": (nn.ConvTranspose3d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 3, 2, 3)),
    "BatchNorm3d": (nn.Sequential(nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3)), VOLUME),
    "MaxPool3d": (nn.MaxPool3d((2, 3, 2)), VOLUME),
    "MaxPool3d padded": (nn.MaxPool3d(3, stride=2, padding=1), VOLUME),
    "MaxPool3d ceil": (nn.MaxPool3d(2, ceil_mode=True, dilation=(1, 2, 1)), VOLUME),
    "AvgPool3d": (nn.AvgPool3d(2), VOLUME),
    "AvgPool3d padded": (nn.AvgPool3d(3, stride=2, padding=1, ceil_mode=True), VOLUME),
    "AvgPool3d without padding": (nn.AvgPool3d(3, stride=2, padding=1, count_include_pad=False), VOLUME),
    "AvgPool3d divisor": (nn.AvgPool3d(3, stride=1, padding=1, divisor_override=5), VOLUME),
    "AdaptiveAvgPool3d": (nn.AdaptiveAvgPool3d((3, None, 4)), VOLUME),
    "AdaptiveMaxPool3d": (nn.AdaptiveMaxPool3d((3, None, 4)), VOLUME),
    "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d((4, 5)), (2, 6, 7)),
    "AdaptiveMaxPool1d to more": (nn.AdaptiveMaxPool1d(9), (2, 5)),
    "ReflectionPad3d": (nn.ReflectionPad3d((1, 2, 1, 0, 1, 1)), (1, 2, 3, 3)),
    "ConstantPad3d": (nn.ConstantPad3d((1, 2, 1, 0, -1, 1), 0.5), (1, 2, 3, 3)),
    "CircularPad2d": (nn.CircularPad2d((1, 2, 0, 1)), (1, 3, 3)),
    "Dropout3d": (nn.Dropout3d(), (1, 2, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_agrees_with_torch_in_float64(name):
    module, shape = LAYERS[name]
    agrees(seeded(module), shape)


def test_bilinear_weights_are_those_of_the_closed_form():
    network = pwlnet.from_torch(nn.Upsample(scale_factor=2, mode="bilinear"), (1, 1, 3))
    wanted = [[4, 0, 0], [3, 1, 0], [1, 3, 0], [0, 3, 1], [0, 1, 3], [0, 0, 4]]
    np.testing.assert_array_equal(network.forward(np.eye(3)[:, None, None]).T, np.tile(wanted, (2, 1)) / 4)


def test_batch_normalization_folds_into_a_convolution_of_volumes():
    network = pwlnet.from_torch(seeded(nn.Sequential(nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.ReLU())), (1, 3, 3, 3))
    assert ir.SCALE not in network.program.op
    assert network.program.weights.size == 2 * 8


def test_a_grid_that_the_network_computes_is_refused():
    module = Function(lambda x: F.grid_sample(torch.ones(1, 1, 2, 2, dtype=x.dtype), x[:, None, None], align_corners=False))
    with pytest.raises(UnsupportedOperationError, match="at points that the network computes"):
        pwlnet.from_torch(module, (2,))


# ONNX.


def onnxruntime_values(model, rows):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"x": row[None].astype(np.float32)})[0].ravel() for row in rows])


def agrees_with_onnxruntime(model, shape, path):
    rows = np.random.default_rng(0).standard_normal((2, *shape[1:])).astype(np.float32)
    found = lower(read_onnx(save(model, path))).forward(rows.astype(np.float64))
    np.testing.assert_allclose(found, onnxruntime_values(model, rows), rtol=1e-4, atol=1e-4)


RULES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resizing_agrees_with_onnxruntime_in_every_coordinate_rule(mode, rule, tmp_path):
    constants = {"s": np.array([1, 1, 2, 0.5], np.float32)}
    if rule == "tf_crop_and_resize":
        constants["r"] = np.array([0, 0, 0.1, -0.2, 1, 1, 0.8, 1.1], np.float32)
    options = {"mode": mode, "coordinate_transformation_mode": rule, "extrapolation_value": 2.5}
    read = "x r s" if "r" in constants else "x - s"
    model = build((1, 2, 5, 7), op("Resize", read, **options), constants=constants, opset=19)
    agrees_with_onnxruntime(model, (1, 2, 5, 7), tmp_path)


@pytest.mark.parametrize(
    ("shape", "options", "scales", "opset"),
    [
        ((1, 1, 9, 8), {"mode": "linear", "antialias": 1}, [1, 1, 0.4, 1.5], 18),
        ((1, 1, 9, 8), {"mode": "cubic", "antialias": 1, "exclude_outside": 1}, [1, 1, 0.4, 0.6], 18),
        ((1, 1, 9, 8), {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5}, [1, 1, 1.4, 0.6], 13),
        ((1, 1, 3, 4, 5), {"mode": "linear"}, [1, 1, 2, 1.5, 0.5], 13),
    ],
)
def test_resizing_with_filters_of_its_own_agrees_with_onnxruntime(shape, options, scales, opset, tmp_path):
    constants = {"s": np.array(scales, np.float32)}
    agrees_with_onnxruntime(build(shape, op("Resize", "x - s", **options), constants=constants, opset=opset), shape, tmp_path)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_resizing_keeps_the_aspect_ratio(policy, tmp_path):
    resized = op("Resize", "x - - s", mode="linear", keep_aspect_ratio_policy=policy, axes=[2, 3])
    model = build((1, 1, 5, 7), resized, constants={"s": np.array([9, 20])}, opset=18)
    agrees_with_onnxruntime(model, (1, 1, 5, 7), tmp_path)


@pytest.mark.parametrize("opset", [7, 9])
def test_upsample_of_old_opsets_is_linear(opset, tmp_path):
    scales = [1.0, 1.0, 2.0, 3.0]
    upsample = op("Upsample", "x", mode="linear", scales=scales) if opset == 7 else op("Upsample", "x s", mode="linear")
    model = build((1, 1, 3, 4), upsample, opset=opset, constants={} if opset == 7 else {"s": np.array(scales, np.float32)})
    agrees_with_onnxruntime(model, (1, 1, 3, 4), tmp_path)


def kernel(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


PADS = {"pads": [1, 0, 1, 0, 1, 1], "strides": [2, 1, 2]}
WINDOWS = {
    "Conv": (op("Conv", "x w", group=2, **PADS), {"w": kernel(4, 1, 3, 2, 3)}),
    "Conv same": (op("Conv", "x w", auto_pad="SAME_LOWER", strides=[2, 1, 2]), {"w": kernel(3, 2, 2, 3, 2)}),
    "ConvTranspose": (op("ConvTranspose", "x w", output_padding=[1, 0, 1], **PADS), {"w": kernel(2, 3, 3, 2, 3)}),
    "MaxPool": (op("MaxPool", "x", kernel_shape=[3, 2, 3], **PADS), {}),
    "AveragePool": (op("AveragePool", "x", kernel_shape=[3, 2, 3], count_include_pad=1, **PADS), {}),
    "AveragePool dilated": (op("AveragePool", "x", kernel_shape=[2, 2, 2], dilations=[2, 1, 2]), {}),
    "LpPool": (op("LpPool", "x", kernel_shape=[2, 2, 2], p=1), {}),
    "GlobalLpPool": (op("GlobalLpPool", "x", p=1), {}),
    "GlobalMaxPool": (op("GlobalMaxPool", "x"), {}),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_over_three_axes_agree_with_onnxruntime(name, tmp_path):
    node, constants = WINDOWS[name]
    agrees_with_onnxruntime(build((1, 2, 4, 5, 6), node, constants=constants, opset=19), (1, 2, 4, 5, 6), tmp_path)


def test_a_dilated_convolution_with_auto_pad_pads_as_torch_does(tmp_path):
    weight = kernel(3, 2, 2, 3)
    node = op("Conv", "x w", auto_pad="SAME_UPPER", dilations=[2, 2])
    network = lower(read_onnx(save(build((1, 2, 5, 6), node, constants={"w": weight}), tmp_path)))
    rows = np.random.default_rng(0).standard_normal((2, 2, 5, 6))
    wanted = F.conv2d(torch.from_numpy(rows), torch.from_numpy(weight).double(), padding="same", dilation=(2, 2))
    np.testing.assert_allclose(network.forward(rows), wanted.reshape(2, -1), atol=1e-12)


def test_average_windows_over_two_axes_may_be_dilated(tmp_path):
    model = build((1, 1, 5, 5), op("AveragePool", "x", kernel_shape=[2, 2], dilations=[2, 1]), opset=19)
    agrees_with_onnxruntime(model, (1, 1, 5, 5), tmp_path)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic", "bilinear"])
def test_sampling_at_a_constant_grid_agrees_with_onnxruntime(mode, padding, tmp_path):
    grid = (np.random.default_rng(0).random((1, 3, 4, 2)) * 4 - 2).astype(np.float32)
    node = op("GridSample", "x g", mode=mode, padding_mode=padding, align_corners=int(padding == "border"))
    model = build((1, 2, 4, 5), node, constants={"g": grid}, opset=16 if mode == "bilinear" else 20)
    agrees_with_onnxruntime(model, (1, 2, 4, 5), tmp_path)


def test_sampling_of_volumes_agrees_with_onnxruntime(tmp_path):
    grid = (np.random.default_rng(0).random((1, 3, 2, 2, 3)) * 4 - 2).astype(np.float32)
    model = build((1, 1, 3, 4, 5), op("GridSample", "x g"), constants={"g": grid}, opset=20)
    agrees_with_onnxruntime(model, (1, 1, 3, 4, 5), tmp_path)


# Matrices found by basis vectors.

W = np.random.default_rng(0).standard_normal((4, 5))
LINEAR = {
    "product": lambda x: W @ x,
    "product and constants": lambda x: W @ x + [1.0, -3.0, 0.0, 1e9],
    "differences": np.diff,
    "transform": lambda x: np.fft.irfft(np.fft.rfft(x)),
    "constant": lambda x: np.ones(2),
}


@pytest.mark.parametrize("name", LINEAR)
def test_the_matrix_of_an_affine_function_is_found(name):
    function = LINEAR[name]
    matrix, shift = find_affine(function, 5)
    wanted = np.stack([function(row) - function(np.zeros(5)) for row in np.eye(5)], axis=1)
    np.testing.assert_allclose(matrix.toarray(), wanted, rtol=0, atol=1e-6 if name == "product and constants" else 1e-15)
    np.testing.assert_array_equal(shift, function(np.zeros(5)))
    if name == "product and constants":  # the weights do not suffer from the constants
        np.testing.assert_allclose(matrix.toarray(), W, rtol=1e-14)


LOOK_ALIKES = {
    "relu": lambda x: np.maximum(x, 0.0),
    "relu far from zero": lambda x: np.maximum(x, -1e6),
    "absolute value": np.abs,
    "sine": np.sin,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "signed square": lambda x: x * np.abs(x),
    "a small square": lambda x: x + 1e-9 * x**2,
    "rounding": np.round,
    "saturation": lambda x: np.clip(x, -1e60, 1e60),
    "a tiny dead zone": lambda x: np.where(np.abs(x) < 1e-60, 0.0, x),
    "float32": lambda x: x.astype(np.float32).astype(float),
    "maximum": lambda x: np.maximum(x[:-1], x[1:]),
    "sort": np.sort,
    "norm": lambda x: np.array([np.sqrt((x**2).sum())]),
    "one entry decides": lambda x: x if x[0] > 1e3 else 2 * x,
    "relu of a sum with a large constant": lambda x: np.array([max(x.sum() + 1e12, 0.0)]),
    "overflow": lambda x: x * 1e300,
    "not a number": lambda x: x / x,
    "nothing": lambda x: x[:0],
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_a_function_that_only_looks_linear_is_refused(name):
    with pytest.raises(NotAffine, match="which is not linear"):
        find_affine(LOOK_ALIKES[name], 5)


def test_a_function_of_too_many_inputs_is_refused_by_its_size():
    with pytest.raises(NotAffine, match="5000 inputs and 5000 outputs are too many"):
        find_affine(lambda x: x, 5000)
    with pytest.raises(NotAffine, match="not linear"):
        find_affine(np.abs, 5000)


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: torch.fft.hfft(x, dim=1), (4,)),
        (lambda x: torch.gradient(x, dim=1)[0], (5,)),
    ],
)
def test_a_linear_operation_of_torch_without_a_handler_is_converted_with_a_warning(function, shape):
    with pytest.warns(PwlnetWarning, match="has no handler: it is linear, and its matrix"):
        network = pwlnet.from_torch(Function(function), shape)
    rows = np.random.default_rng(0).standard_normal((3, *shape))
    wanted = np.stack([function(torch.from_numpy(row[None])).numpy().ravel() for row in rows])
    np.testing.assert_allclose(network.forward(rows), wanted, rtol=0, atol=1e-12)


def test_a_linear_operator_of_onnx_without_a_handler_is_converted_with_a_warning(tmp_path):
    model = build((1, 5, 1), op("DFT", "x", axis=1), opset=17)
    with pytest.warns(PwlnetWarning, match="is DFT, which has no handler: it is linear"):
        network = lower(read_onnx(save(model, tmp_path)))
    rows = np.random.default_rng(0).standard_normal((3, 5))
    transform = np.fft.fft(rows)
    np.testing.assert_allclose(network.forward(rows), np.stack([transform.real, transform.imag], 2).reshape(3, -1), atol=1e-13)


def test_a_warning_about_an_operation_that_the_output_does_not_need_is_not_given():
    graph = Graph((1, 3), batched=True)
    unused, graph.output = graph.relu(graph.input, name="unused"), graph.relu(graph.input, name="used")
    graph.note(unused, "about unused")
    assert graph.needed_notes() == []
    graph.note(graph.output, "about used")
    assert graph.needed_notes() == ["about used"]


# Analyses see the new forms as the matrix that they are.

FORMS = {
    "bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 3)),
    "Conv3d": (nn.Conv3d(1, 2, 2, padding=1), (1, 2, 2, 1)),
    "AvgPool3d": (nn.AvgPool3d((2, 1, 2), stride=1, padding=(1, 0, 1)), (1, 2, 2, 2)),
    "grid": (sample("bilinear", "zeros"), (1, 2, 3)),
    "Fold": (nn.Fold((2, 3), 2, padding=1), (4, 12)),
}


def forms_and_matrices():
    """A network with each form, and the same network with a matrix in its place."""
    for name, (form, shape) in FORMS.items():
        form, n = seeded(form).double(), int(np.prod(shape))
        with torch.no_grad():
            constant = form(torch.zeros(1, *shape, dtype=torch.float64)).reshape(-1)
            columns = [form(row.reshape(1, *shape)).reshape(-1) - constant for row in torch.eye(n, dtype=torch.float64)]
            dense = nn.Linear(n, constant.numel()).double()
            dense.weight.copy_(torch.stack(columns, 1))
            dense.bias.copy_(constant)
        before, after = seeded(nn.Linear(2, n).double(), 1), seeded(nn.Linear(constant.numel(), 2).double(), 2)
        first = nn.Sequential(before, nn.ReLU(), nn.Unflatten(1, shape), form, nn.ReLU(), nn.Flatten(), after)
        second = nn.Sequential(before, nn.ReLU(), dense, nn.ReLU(), after)
        yield name, pwlnet.from_torch(first, (2,)), pwlnet.from_torch(second, (2,))


def test_lines_planes_floats_and_bounds_agree_with_those_of_the_dense_matrix():
    rng = np.random.default_rng(0)
    starts, ends = rng.standard_normal((4, 2)) * 3, rng.standard_normal((4, 2)) * 3
    box, square = pwlnet.Box([-1.0, -0.5], [0.5, 1.0]), [[-1, -1], [1, -1], [1, 1], [-1, 1]]
    for name, form, dense in forms_and_matrices():
        assert form.n_neurons == dense.n_neurons, name
        first, second = (pwlnet.partition_lines(network, starts, ends) for network in (form, dense))
        np.testing.assert_array_equal(first.offsets, second.offsets, err_msg=name)
        np.testing.assert_allclose(first.t, second.t, atol=1e-12, err_msg=name)
        sets = [pwlnet.find_float_neurons(network, box, method="exact").upper for network in (form, dense)]
        np.testing.assert_array_equal(*sets, err_msg=name)
        bounds = [pwlnet.bound_preactivations(network, box) for network in (form, dense)]
        np.testing.assert_allclose(bounds[0].lower, bounds[1].lower, atol=1e-9, err_msg=name)
        planes = [pwlnet.partition_planes(network, [[0, 0]], [[1, 0]], [[0, 1]], [square]) for network in (form, dense)]
        assert planes[0].parts[0].n_polygons == planes[1].parts[0].n_polygons, name
