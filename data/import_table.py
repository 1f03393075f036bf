"""Convert every network file of a folder, compare each with an independent evaluation, and print the table.

    python data/import_table.py [FOLDER] [PREFIX]

FOLDER is PWLNET_DATA_DIR by default. ONNX files are compared with onnxruntime, the text formats with their
formula in NumPy, each on 100 random inputs in the range that the file is made for. Needs onnx and onnxruntime.
"""

import ast
import collections
import itertools
import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

import pwlnet
from pwlnet.errors import PwlnetError

SUFFIXES = (".onnx", ".nnet", ".eran", ".tf")
N_INPUTS = 100
REFUSALS = {  # files that must be refused, and a part of the reason
    "importer_tests/marabou_layer_zoo/constant.onnx": "does not depend on its input",
    "importer_tests/marabou_layer_zoo/dropout_training_mode_true.onnx": "which drops entries at random",
    "importer_tests/marabou_layer_zoo/sigmoid.onnx": "is Sigmoid, which is not piecewise linear",
    "importer_tests/marabou_layer_zoo/tanh.onnx": "is Tanh, which is not piecewise linear",
}


class Row(NamedTuple):
    """One file: what is in it, how many neurons, the largest relative difference, or why it was refused."""

    file: str
    ops: str
    neurons: int | None
    difference: float | None
    refusal: str | None
    warned: str | None

    @property
    def result(self):
        """The last column of the table."""
        if self.refusal is not None:
            return f"refused: {self.refusal.partition('; supported:')[0]}"
        return f"differs by {self.difference:.1e}" + (f"; warning: {self.warned}" if self.warned else "")


def files(folder):
    """Paths of all network files below a folder, sorted."""
    return sorted(path for path in Path(folder).rglob("*") if path.suffix in SUFFIXES and path.is_file())


def check(folder, path):
    """The row of one file."""
    name = str(path.relative_to(folder))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            network = pwlnet.load_network(path)
        except PwlnetError as error:
            return Row(name, describe(path), None, None, str(error).replace(f"{folder}{os.sep}", ""), None)
    warned = "; ".join(str(warning.message).replace(f"{folder}{os.sep}", "") for warning in caught) or None
    inputs = sample(path, network.n_inputs)
    found, wanted = network.forward(inputs), evaluate(path, inputs)
    scale = np.maximum(np.linalg.norm(wanted, axis=1), np.finfo(np.float32).tiny)
    difference = float((np.linalg.norm(found - wanted, axis=1) / scale).max())
    return Row(name, describe(path), network.n_neurons, difference, None, warned)


def describe(path):
    """Operators and their numbers, or layer sizes."""
    if path.suffix == ".onnx":
        import onnx

        counts = collections.Counter(node.op_type for node in onnx.load(path).graph.node)
        return " ".join(f"{kind} x{n}" if n > 1 else kind for kind, n in counts.items())
    if path.suffix == ".nnet":
        return "-".join(str(n) for n in nnet_sizes(nnet_lines(path)))
    layers = eran_layers(path)
    return "-".join([str(layers[0][1].shape[1]), *(f"{len(bias)} {kind}" for kind, _, bias in layers)])


def sample(path, n):
    """Random inputs that are float32 exactly: the header's box of a .nnet file, [0, 1] for images, else [-0.5, 0.5]."""
    lower, upper = (0.0, 1.0) if n >= 784 else (-0.5, 0.5)
    if path.suffix == ".nnet":
        box = [np.array(nnet_numbers(line)) for line in nnet_lines(path)[3:5]]
        if all(len(side) == n for side in box) and (box[0] < box[1]).all():
            lower, upper = box
    rng = np.random.default_rng(0)
    return rng.uniform(lower, upper, (N_INPUTS, n)).astype(np.float32).astype(np.float64)


def evaluate(path, inputs):
    """Outputs [N, O] without pwlnet."""
    if path.suffix == ".onnx":
        return evaluate_onnx(path, inputs)
    return evaluate_nnet(path, inputs) if path.suffix == ".nnet" else evaluate_eran(path, inputs)


def evaluate_onnx(path, inputs):
    """The file by onnxruntime, one input at a time: in float64 where it can (no convolutions), else in float32."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    model = onnx.load(path)
    try:
        session, dtype = onnxruntime.InferenceSession(in_double(onnx, model).SerializeToString(), options), np.float64
    except Exception:  # onnxruntime's exceptions have no common class; here: no kernel for float64
        session, dtype = onnxruntime.InferenceSession(model.SerializeToString(), options), np.float32
    declared = session.get_inputs()[0]
    rows = inputs.astype(dtype).reshape(-1, *[n if isinstance(n, int) else 1 for n in declared.shape])
    return np.array([session.run(None, {declared.name: row})[0].ravel() for row in rows], np.float64)


def in_double(onnx, model):
    """A copy of a model with all float32 tensors as float64."""
    single, double = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    copy = type(model)()
    copy.CopyFrom(model)
    tensors = [*copy.graph.initializer, *(a.t for node in copy.graph.node for a in node.attribute if a.HasField("t"))]
    for tensor in tensors:
        if tensor.data_type == single:
            value = onnx.numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    for value in (*copy.graph.input, *copy.graph.output):
        if value.type.tensor_type.elem_type == single:
            value.type.tensor_type.elem_type = double
    del copy.graph.value_info[:]
    return copy


def nnet_lines(path):
    return [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("//")]


def nnet_numbers(line):
    return [float(word) for word in line.replace(",", " ").split()]


def nnet_sizes(lines):
    return [int(n) for n in nnet_numbers(lines[1])]


def evaluate_nnet(path, inputs):
    """SISL's formula; means and ranges are used where there is one more than inputs and the ranges are positive."""
    lines = nnet_lines(path)
    sizes, means, ranges = nnet_sizes(lines), np.array(nnet_numbers(lines[5])), np.array(nnet_numbers(lines[6]))
    normalized = len(means) == len(ranges) == sizes[0] + 1 and (ranges > 0).all()
    x = (inputs - means[:-1]) / ranges[:-1] if normalized else inputs
    numbers = iter(np.concatenate([nnet_numbers(line) for line in lines[7:]]))
    for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
        weight = np.array([next(numbers) for _ in range(n_in * n_out)]).reshape(n_out, n_in)
        x = x @ weight.T + np.array([next(numbers) for _ in range(n_out)])
        x = np.maximum(x, 0.0) if k < len(sizes) - 2 else x
    return x * ranges[-1] + means[-1] if normalized else x


def eran_layers(path):
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    return [
        (kind, np.array(ast.literal_eval(weight)), np.array(ast.literal_eval(bias)))
        for kind, weight, bias in zip(lines[::3], lines[1::3], lines[2::3], strict=True)
    ]


def evaluate_eran(path, inputs):
    """The layers in turn; a ReLU on the last layer is left out."""
    x, layers = inputs, eran_layers(path)
    for k, (kind, weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        if kind == "HardTanh":
            x = np.clip(x, -1.0, 1.0)
        elif k < len(layers) - 1:
            x = np.maximum(x, 0.0)
    return x


def main(folder=None, prefix=""):
    """Print the table; exit 1 where a file is neither right nor refused as expected."""
    folder = Path(folder or os.environ.get("PWLNET_DATA_DIR") or sys.exit("give a folder, or set PWLNET_DATA_DIR"))
    wrong = 0
    print("| file | operators or layers | neurons | result |\n|---|---|---|---|")
    for path in files(folder):
        if str(path.relative_to(folder)).startswith(prefix):
            row = check(folder, path)
            print(f"| {row.file} | {row.ops} | {'' if row.neurons is None else row.neurons} | {row.result} |", flush=True)
            wrong += not is_right(row)
    print(f"\n{wrong} wrong")
    return int(wrong > 0)


def is_right(row, tolerance=1e-5):
    """Whether a file agrees with its independent evaluation, or is refused for the reason that it must be."""
    if row.file in REFUSALS:
        return row.refusal is not None and REFUSALS[row.file] in row.refusal
    return row.refusal is None and row.difference <= tolerance


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
