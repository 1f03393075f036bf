"""Mutations of network files: of their bytes, of the words and lines of a text, of the messages of an ONNX model."""

import functools
import os
import re
from itertools import pairwise
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parents[2] / "data" / "networks"
LARGEST_SEED = 200_000
NUMBERS = (0, 1, -1, 2, 3, 7, -7, 127, 255, 1000, 2**20, 2**31 - 1, -(2**31), 2**33, 10**12, 2**62, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-30, 3.4e38, -3.4e38, float("inf"), -float("inf"), float("nan"))
NAMES = ("", "x", "y", "nothing", "\u00e9\u4e2d", "a" * 300, "../../etc/passwd", "{}%s%d", "\x01\n")
WORDS = (
    "0 1 -1 2 nan NaN inf -inf Infinity 1e999 -1e999 1e308 -1e308 1e-400 0x10 1_000 ++1 --1 1.2.3 . e5 1e abc None True [] "
    "[ ] [[ ]] ( ) ; : 999999999999 -999999999999 100000 1e6 2.0 3.5 \u0661\u0662 \uff11 \u00bd \u221e // # ReLU "
    "relu Affine HardTanh Sigmoid Tanh Conv2D Normalize mean=[0] std=[0] ParSumReLU Linear"
)
SEPARATORS = ("", " ", "\t", ",", ",,", ", ,", ";", "\n", "\r\n", "\r", "\x0b", "\x1c", "\u2028", "\x00", "],[", "], [", "]")
KINDS_OF_NODES = (
    "Add Sub Mul Div Neg Abs Sum Mean Max Min Clip Relu LeakyRelu PRelu Identity Dropout Cast CastLike Gemm MatMul Einsum Conv "
    "ConvTranspose MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool BatchNormalization Concat Split Pad "
    "Reshape Flatten Squeeze Unsqueeze Transpose Slice Gather GatherElements GatherND ScatterND ScatterElements Expand Tile "
    "Where Greater Less Equal And Or Not Sign Floor Sigmoid Softmax ArgMax TopK CumSum ReduceSum ReduceMean ReduceMax "
    "ReduceMin ReduceL1 ReduceL2 Resize Upsample GridSample DepthToSpace SpaceToDepth Trilu Compress Constant ConstantOfShape "
    "Range Shape Size OneHot NonZero If Loop Scan LSTM Pow Sqrt Shrink ThresholdedRelu HardSigmoid HardSwish DequantizeLinear "
    "QuantizeLinear QLinearMatMul NoSuchOp EyeLike IsNaN Det DFT Celu CenterCropPad ReverseSequence Col2Im"
)
ATTRIBUTES = (
    "alpha beta transA transB axis axes keepdims kernel_shape strides pads dilations group auto_pad ceil_mode epsilon to value "
    "value_float value_ints shape perm mode equation output_shape output_padding min max count_include_pad p blocksize k "
    "training_mode then_branch else_branch body split num_outputs largest reduction storage_order block_size"
)


# Bytes.


def of_bytes(content, other, rng):
    """Mutate bytes: flips, truncation, ranges that are removed, doubled, moved or replaced, parts of another file."""
    content = bytearray(content)
    if not content:
        return bytes(other[:50])
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    last = min(last, first + rng.choice((1, 4, 40, 400)))
    place = rng.randrange(len(content) + 1)
    kind = rng.randrange(9)
    if kind <= 2:
        for _ in range(rng.choice((1, 1, 3, 10))):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 3:
        del content[place:]
    elif kind == 4:
        del content[first:last]
    elif kind == 5:
        content[place:place] = content[first:last] * rng.choice((1, 2, 50))
    elif kind == 6:
        content[first:last] = bytes(rng.randrange(256) for _ in range(last - first))
    elif kind == 7:
        content[place:] = other[rng.randrange(len(other) + 1) :]
    else:
        content[first:last] = rng.choice((b"\xff" * 10, b"\x00" * 8, b"\x80" * 9 + b"\x01", b"\xff\xfe", b""))
    return bytes(content)


# Texts.


def _of_word(line, rng):
    words = re.split(r"([,\s\[\]]+)", line)
    k = rng.randrange(len(words))
    inside = k % 2 == 0
    kind = rng.randrange(6)
    if kind == 0:
        words[k] = rng.choice(WORDS.split() if inside else SEPARATORS)
    elif kind == 1:
        words[k] = str(rng.choice(NUMBERS if rng.random() < 0.5 else FLOATS))
    elif kind == 2:
        del words[k]
    elif kind == 3:
        words[k] = words[k] * rng.choice((2, 2, 20, 2000))
    elif kind == 4:
        words[k] = rng.choice("0123456789. -[") * rng.choice((1, 20, 5000, 30000)) + rng.choice(("", "x", words[k]))
    else:
        words[k] = rng.choice(("+", "-", " ", "e", "0", "_", "\u0660")) + words[k]
    return "".join(words)


def of_text(content, other, rng):
    """Mutate a text: words, separators, and whole lines that are removed, doubled, exchanged or taken from another file."""
    lines, others = (c.decode("latin-1").split("\n") for c in (content, other))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        near = rng.randrange(min(len(lines), 12)) if rng.random() < 0.6 else rng.randrange(len(lines))
        far = rng.randrange(len(lines))
        kind = rng.randrange(10)
        if kind <= 5:
            lines[near] = _of_word(lines[near], rng)
        elif kind == 6 and len(lines) > 1:
            del lines[near]
        elif kind == 7:
            lines.insert(near, lines[far])
        elif kind == 8:
            lines[near], lines[far] = lines[far], lines[near]
        else:
            lines[near] = rng.choice((rng.choice(others), "", "," * 2000, " " * 20000, "[" * 3000, "[[" + " " * 20000 + "x"))
    encoding = rng.choice(("utf-8",) * 12 + ("utf-16", "utf-8-sig", "utf-32"))
    return "\n".join(lines).encode(encoding, "surrogatepass")


# Messages.


def _messages(message, found):
    """Collect a message and all messages in it."""
    found.append(message)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                _messages(one, found)
    return found


def _copy(message):
    return type(message).FromString(message.SerializeToString())  # a message put into itself crashes protobuf


def _scalar(field, old, rng, names):
    kind = field.cpp_type
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.type == field.TYPE_STRING:
        return rng.choice(names) if rng.random() < 0.6 else rng.choice(NAMES + tuple(KINDS_OF_NODES.split()))
    if field.type == field.TYPE_BYTES:
        old = bytes(old or b"\0\0\0\0")
        cut = rng.randrange(len(old) + 1)
        noise = bytes(rng.randrange(256) for _ in range(4))
        return rng.choice((old[:cut], old + noise, old[:cut] + noise + old[cut + 4 :], b"", old * 2))
    if field.enum_type is not None:
        return rng.choice(field.enum_type.values).number
    number = rng.choice(NUMBERS) if rng.random() < 0.7 else int(old or 0) + rng.choice((-1, 1))
    wide = field.type in (field.TYPE_INT64, field.TYPE_UINT64)
    low, high = (-(2**63), 2**63 - 1) if wide else (-(2**31), 2**31 - 1)
    low = 0 if field.type in (field.TYPE_UINT64, field.TYPE_UINT32) else low
    return rng.randint(0, 30) if not low <= number <= high else number


def _of_repeated(message, field, rng, names, pool):
    values = getattr(message, field.name)
    kind = rng.randrange(5)
    if field.message_type is not None:
        same = [m for m in pool if m.DESCRIPTOR is field.message_type]
        if kind <= 1 and len(values):
            del values[rng.randrange(len(values))]
        elif kind == 2 and len(values) > 1:
            moved = type(values[0])()
            moved.CopyFrom(values[0])
            del values[0]
            values.insert(rng.randrange(len(values) + 1), moved)
        elif same:
            values.append(_copy(rng.choice(same)))
        return
    items = list(values)
    if kind == 0 and items:
        del items[rng.randrange(len(items))]
    elif kind == 1 or not items:
        items.insert(rng.randrange(len(items) + 1), _scalar(field, None, rng, names))
    elif kind == 2:
        rng.shuffle(items)
    else:
        k = rng.randrange(len(items))
        items[k] = _scalar(field, items[k], rng, names)
    del values[:]
    values.extend(items)


def _of_field(message, rng, names, pool):
    """Change one field of a message, that is present or (less often) absent."""
    present = [field for field, _ in message.ListFields()]
    fields = present if present and rng.random() < 0.8 else list(message.DESCRIPTOR.fields)
    field = rng.choice(fields)
    if field.is_repeated:
        _of_repeated(message, field, rng, names, pool)
    elif rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.message_type is not None:
        same = [m for m in pool if m.DESCRIPTOR is field.message_type]
        if same:
            getattr(message, field.name).CopyFrom(_copy(rng.choice(same)))
    else:
        setattr(message, field.name, _scalar(field, getattr(message, field.name), rng, names))


def _special(model, rng, names):
    """Change what random changes of fields rarely find."""
    from onnx import TensorProto, helper

    graph, kind = model.graph, rng.randrange(10)
    node = rng.choice(graph.node) if graph.node else graph.node.add()
    tensor = rng.choice(graph.initializer) if graph.initializer else graph.initializer.add()
    if kind == 0:
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", rng.choice(NAMES + ("/dev/zero", "net.onnx"))), ("offset", "8"), ("length", "-5")):
            tensor.external_data.add(key=key, value=rng.choice((value, str(rng.choice(NUMBERS)), "x")))
    elif kind == 1:
        graph.sparse_initializer.add(values=tensor, indices=tensor, dims=tensor.dims)
    elif kind == 2:
        tensor.segment.begin, tensor.segment.end = rng.choice(NUMBERS), rng.choice(NUMBERS)
    elif kind == 3 and len(tensor.dims) < 20:
        tensor.dims.append(abs(rng.choice(NUMBERS[:-1])))
        tensor.ClearField("raw_data") if rng.random() < 0.5 else None
    elif kind == 4:
        node.op_type = rng.choice(KINDS_OF_NODES.split())
    elif kind == 5:
        value = rng.choice(
            [list(NUMBERS[:4]), rng.choice(NUMBERS), rng.choice(FLOATS), "SAME_UPPER", [0.5, 2.0], graph, tensor]
        )
        if not (value is graph and len(graph.SerializeToString()) > 10_000):
            node.attribute.append(helper.make_attribute(rng.choice(ATTRIBUTES.split()), value))
    elif kind == 6:
        body = model.functions.add(name=node.op_type or "f", domain=rng.choice(("", "local", node.domain)))
        body.input.extend(node.input)
        body.output.extend(node.output)
        body.node.append(node)
        body.opset_import.extend(model.opset_import)
        node.domain = body.domain
    elif kind == 7:
        inner = helper.make_graph(list(graph.node), "inner", [], list(graph.output))
        condition = helper.make_tensor("condition", TensorProto.BOOL, [1], [rng.randrange(2)])
        graph.initializer.append(condition)
        outputs = [value.name for value in graph.output]
        del graph.node[:]
        inside = {"then_branch": inner, "else_branch": inner}
        graph.node.append(helper.make_node("If", ["condition"], outputs, name="if", **inside))
    elif kind == 8:
        for entry in model.opset_import:
            entry.version = rng.choice((0, 1, 5, 6, 7, 9, 11, 13, 18, 21, 25, 100, 2**31))
    elif graph.input:
        shape = graph.input[0].type.tensor_type.shape
        dims = shape.dim or [shape.dim.add()]
        rng.choice(dims).dim_value = rng.choice(NUMBERS)


def of_model(content, other, rng):
    """Mutate an ONNX model message by message: a few fields of any message in it, or parts of another model."""
    import onnx

    model, donor = onnx.ModelProto.FromString(content), onnx.ModelProto.FromString(other)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        pool = _messages(model, [])
        names = tuple({n for m in pool if isinstance(m, onnx.NodeProto) for n in (*m.input, *m.output)} | {"x"})
        names = tuple(sorted(names))
        if rng.random() < 0.3:
            _special(model, rng, names)
            continue
        chosen = rng.choice([m for m in pool if not isinstance(m, onnx.TensorProto)] if rng.random() < 0.5 else pool)
        _of_field(chosen, rng, names, pool + (_messages(donor, []) if rng.random() < 0.3 else []))
    return model.SerializeToString()


# Seeds.


def _text_seeds(kind):
    rng = np.random.default_rng(0)
    found = []
    for sizes in ((2, 3, 2), (1, 1), (3, 4, 4, 1), (5, 2)):
        layers = [(rng.standard_normal((m, n)).round(3), rng.standard_normal(m).round(3)) for n, m in pairwise(sizes)]
        if kind == "eran":
            for normalize in ([], [f"Normalize mean={[0.5] * sizes[0]} std={[2.0] * sizes[0]}"]):
                lines = list(normalize)
                for k, (weight, bias) in enumerate(layers):
                    lines += [("ReLU", "HardTanh", "Affine")[(k + len(sizes)) % 3], str(weight.tolist()), str(bias.tolist())]
                found.append("\n".join(lines).encode() + b"\n")
            continue
        ones = ",".join(["1.0"] * (sizes[0] + 1))
        for means, ranges in (("0", "0"), (ones, ones.replace("1", "2"))):
            lines = ["// text", f"{len(layers)},{sizes[0]},{sizes[-1]},{max(sizes)},", ",".join(map(str, sizes)) + ",", "0"]
            lines += [ones, ones, means, ranges]
            for weight, bias in layers:
                lines += [",".join(map(str, row)) + "," for row in weight.tolist()] + [f"{b}," for b in bias.tolist()]
            found.append("\n".join(lines).encode() + b"\n")
    return found


def _onnx_seeds():
    from tests.convert import test_onnx
    from tests.convert.onnx_models import build

    lists = (test_onnx.AFFINE, test_onnx.SWITCHING, test_onnx.WINDOWS, test_onnx.LAYOUT)
    found = [build(p.values[0], *p.values[1], **p.values[2]).SerializeToString() for cases in lists for p in cases]
    return found + [p.read_bytes() for p in sorted(HERE.glob("*.onnx")) if p.stat().st_size < LARGEST_SEED]


@functools.cache
def seeds(kind):
    """Return the files that are mutated: small ones that are made, those of this project, and those of PWLNET_DATA_DIR."""
    found = _onnx_seeds() if kind == "onnx" else _text_seeds(kind)
    folder = os.environ.get("PWLNET_DATA_DIR")
    suffixes = (f".{kind}", ".tf") if kind == "eran" else (f".{kind}",)
    paths = sorted(p for suffix in suffixes for p in Path(folder).rglob(f"*{suffix}")) if folder else []
    real = [p.read_bytes() for p in paths[:: max(1, len(paths) // 40)] if p.stat().st_size < LARGEST_SEED]
    return found, real


def mutated(kind, rng, *, real=False):
    """Return a mutated network file: bytes.

    Parameters
    ----------
    kind : {"onnx", "nnet", "eran"}
    rng : random.Random
    real : bool, optional
        Whether a sixth of the files comes from PWLNET_DATA_DIR, where it is set.
    """
    made, others = seeds(kind)
    first, second = (rng.choice(others if real and others and rng.random() < 1 / 6 else made) for _ in range(2))
    structure = of_model if kind == "onnx" else of_text
    share = rng.random()
    if share < 0.75:
        return structure(first, second, rng)
    return of_bytes(structure(first, second, rng) if share < 0.8 else first, second, rng)
