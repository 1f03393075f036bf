"""A Network is only made of arrays that kernels can trust: each kind of broken array is refused and named."""

import numpy as np
import pytest

from pwlnet.errors import InputError
from pwlnet.kernels.ir import program as ir
from pwlnet.network import Network
from pwlnet.program_check import check_program, windows_meet_input
from pwlnet.warmup import toy_network
from tests.counts import few
from tests.drawn import draw

TOY = toy_network()
OPS = {ir.OP_NAMES[code]: i for i, code in reversed(list(enumerate(TOY.program.op)))}  # first op of each kind


def changed(field, index, value):
    array = getattr(TOY.program, field).copy()
    array[index] = value
    return {field: array}


def at(kind, column):
    return OPS[kind], column


def gather_program():
    """A program with a Gather: a network that reverses four entries before a ReLU."""
    graph_inputs = np.arange(4)
    offsets = np.array([0, 0, 0, 0])
    values = np.array([0, 4, 8, 12])
    return ir.Program(
        op=np.array([ir.INPUT, ir.GATHER, ir.RELU]),
        operands=np.array([0, 1]),
        operand_offsets=np.array([0, 0, 1, 2]),
        shapes=np.array([[4, 1, 1]] * 3),
        value_offsets=values,
        neuron_offsets=np.array([0, 0, 0, 4]),
        attributes=np.zeros((3, ir.N_ATTRIBUTES), np.int64),
        coefficients=np.zeros((3, 4)),
        weights=np.empty(0),
        weight_offsets=offsets,
        biases=np.empty(0),
        bias_offsets=offsets,
        indices=graph_inputs[::-1].copy(),
        index_offsets=np.array([0, 0, 4, 4]),
        input_index=graph_inputs,
        output_index=graph_inputs,
    )


BROKEN = {
    "weights in float32": (
        {"weights": TOY.program.weights.astype(np.float32)},
        "weights has dtype float32; float64 is",
    ),
    "offsets in int32": ({"bias_offsets": TOY.program.bias_offsets.astype(np.int32)}, "bias_offsets has dtype int32"),
    "shapes of two columns": ({"shapes": TOY.program.shapes[:, :2]}, "shapes has shape"),
    "attributes of another op count": ({"attributes": TOY.program.attributes[1:]}, "attributes has shape"),
    "coefficients as a vector": ({"coefficients": TOY.program.coefficients.ravel()}, "coefficients has shape"),
    "weights as a matrix": ({"weights": TOY.program.weights[None]}, "one axis is needed"),
    "op codes as a matrix": ({"op": TOY.program.op[:, None]}, "op has shape"),
    "operand offsets past the end": (changed("operand_offsets", -1, 99), "operand_offsets are not offsets"),
    "weight offsets past the end": (changed("weight_offsets", -1, 10**6), "weight_offsets are not offsets"),
    "bias offsets short of the end": (changed("bias_offsets", -1, 0), "bias_offsets are not offsets"),
    "index offsets that do not start at 0": (changed("index_offsets", 0, 1), "index_offsets are not offsets"),
    "value offsets that fall": (changed("value_offsets", 3, 0), "value_offsets are not offsets"),
    "neuron offsets that are too few": ({"neuron_offsets": TOY.program.neuron_offsets[:-1]}, "neuron_offsets are not"),
    "a weight that is NaN": (changed("weights", 3, np.nan), "weights holds 1 entries that are not finite"),
    "a bias that is infinite": (changed("biases", 0, np.inf), "biases holds 1 entries that are not finite"),
    "no input first": (changed("op", 0, ir.RELU), "the program does not start with its input"),
    "an input outside": (changed("input_index", 0, 72), "input_index points outside its op"),
    "an input twice": (changed("input_index", 0, 1), "input_index does not fill each entry of the input once"),
    "too few inputs": ({"input_index": TOY.program.input_index[:-1]}, "input_index does not fill each entry"),
    "an output outside": (changed("output_index", 0, -1), "output_index points outside its op"),
    "no outputs": ({"output_index": np.empty(0, np.int64)}, "output_index points outside its op"),
    "an unknown op code": (changed("op", 2, 99), "(code 99) has an op code that does not exist"),
    "a negative op code": (changed("op", 2, -1), "(code -1) has an op code that does not exist"),
    "a second input": (changed("op", 2, ir.INPUT), "(Input) has an op code that does not exist or stands in the wrong"),
    "an op that reads itself": (
        changed("operands", 1, 2),
        "(LeakyRelu) reads ops [2], which is not a topological order",
    ),
    "an op that reads nothing there is": (changed("operands", 1, -1), "reads ops [-1]"),
    "a shape of no entries": (changed("shapes", (2, 1), 0), "has shape [4, 0, 6], which does not fit its place"),
    "a shape of another size": (changed("shapes", (2, 0), 5), "has shape [5, 6, 6], which does not fit its place"),
    "an affine op with neurons": (changed("neuron_offsets", slice(2, None), 144), "(Conv2d) has 144 neurons"),
    "a clip that is empty": (changed("coefficients", at("Clip", 0), 2.0), "(Clip) clips to [2.0, 1.0], which is empty"),
    "a clip to NaN": (changed("coefficients", at("Clip", 1), np.nan), "(Clip) clips to [-1.0, nan], which is empty"),
    "a sum with NaN": (changed("coefficients", at("Add", 1), np.nan), "(Add) has coefficients 1.0 and nan"),
    "a kernel of no rows": (
        changed("attributes", at("MaxPool", ir.KERNEL_H), 0),
        "(MaxPool) has a window with attributes",
    ),
    "a stride of 0": (changed("attributes", at("AvgPool", ir.STRIDE_W), 0), "(AvgPool) has a window with attributes"),
    "a negative padding": (
        changed("attributes", at("Conv2d", ir.PAD_TOP), -1),
        "(Conv2d) has a window with attributes",
    ),
    "a convolution of other taps": (
        changed("attributes", at("Conv2d", ir.KERNEL_W), 2),
        "(Conv2d) has (72, 4, 0) weights",
    ),
    "groups that do not divide": (changed("attributes", at("MaxPool", ir.GROUPS), 0), "(MaxPool) has a window with"),
    "a pool in the padding": (
        changed("attributes", at("MaxPool", ir.PAD_TOP), 9),
        "(MaxPool) has a window that lies in",
    ),
    "an average of padding": (
        changed("attributes", at("AvgPool", ir.PAD_LEFT), 9),
        "(AvgPool) has a window that lies in",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_array_is_refused_in_one_sentence(name):
    changes, message = BROKEN[name]
    with pytest.raises(InputError) as caught:
        Network(TOY.program._replace(**changes), input_shape=TOY.input_shape)
    assert message in str(caught.value)
    assert str(caught.value).endswith((", convert the source again", "; convert the source again", ", check the source"))
    assert "\n" not in str(caught.value)


def test_the_op_is_named():
    with pytest.raises(InputError) as caught:
        Network(TOY.program._replace(**changed("op", 2, 99)), input_shape=TOY.input_shape)
    assert str(caught.value) == (
        "op 2 of the program (code 99) has an op code that does not exist or stands in the wrong place; "
        "convert the source again"
    )


@pytest.mark.parametrize("entry", [4, -2])
def test_a_copy_of_an_entry_that_there_is_not_is_refused(entry):
    program = gather_program()
    check_program(program)
    indices = program.indices.copy()
    indices[1] = entry
    with pytest.raises(InputError, match=r"\(Gather\) copies entries that its operand does not have"):
        check_program(program._replace(indices=indices))


def test_an_elementwise_op_of_another_shape_than_its_operand_is_refused():
    program = gather_program()
    shapes = np.array([[4, 1, 1], [4, 1, 1], [2, 2, 1]])
    with pytest.raises(InputError, match=r"\(Relu\) has shape \[2, 2, 1\], but reads shapes \[\[4, 1, 1\]\]"):
        check_program(program._replace(shapes=shapes))


def test_a_concatenation_of_other_channels_is_refused():
    operands = TOY.program.operands.copy()
    first = TOY.program.operand_offsets[OPS["Concat"]]
    operands[first] = OPS["Add"]
    with pytest.raises(InputError, match=r"\(Concat\) has shape \[8, 3, 3\], but joins shapes \[\[4, 6, 6\], \[4, 3, 3\]"):
        check_program(TOY.program._replace(operands=operands))


def test_a_concatenation_of_nothing_is_refused():
    program = gather_program()
    program = program._replace(
        op=np.array([ir.INPUT, ir.GATHER, ir.CONCAT]),
        operands=np.array([0]),
        operand_offsets=np.array([0, 0, 1, 1]),
        neuron_offsets=np.zeros(4, np.int64),
    )
    with pytest.raises(InputError, match=r"\(Concat\) has shape \[4, 1, 1\], but joins shapes \[\]"):
        check_program(program)


def test_every_lowered_network_passes():
    for seed in range(few(60)):
        check_program(draw(seed, degenerate=True)[1].program)


@pytest.mark.parametrize(
    ("size", "out", "kernel", "stride", "padding", "dilation", "meets"),
    [(5, 5, 3, 1, 1, 1, True), (1, 1, 2, 1, 1, 2, False), (1, 3, 1, 1, 1, 1, False), (4, 2, 2, 3, 1, 1, True),
     (4, 3, 2, 3, 1, 1, False)],
)  # fmt: skip
def test_windows_that_lie_in_the_padding_are_seen(size, out, kernel, stride, padding, dilation, meets):
    pair = dict.fromkeys((ir.KERNEL_W, ir.STRIDE_W, ir.DILATION_W), 1) | {ir.PAD_LEFT: 0}
    window = {ir.KERNEL_H: kernel, ir.STRIDE_H: stride, ir.PAD_TOP: padding, ir.DILATION_H: dilation}
    assert windows_meet_input((1, size, 1), (1, out, 1), pair | window) is meets
    swapped = {column + 1: value for column, value in window.items()} | {column - 1: v for column, v in pair.items()}
    assert windows_meet_input((1, 1, size), (1, 1, out), swapped) is meets
