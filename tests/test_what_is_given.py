"""What users give where an array or a network is needed: taken with its exact values, or refused in one sentence."""

import inspect

import numpy as np
import pytest
import torch

import pwlnet
from pwlnet.errors import InputError, PwlnetError
from pwlnet.validation import as_array, check_network

VALUES = [[0.5, -1.25], [3.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_tensors_are_taken_with_their_exact_values(dtype, needs_gradient):
    tensor = torch.tensor(VALUES, dtype=dtype, requires_grad=needs_gradient)
    for given in (tensor, list(tensor)):
        assert np.array_equal(as_array(given, "x"), VALUES)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (torch.eye(2).to_sparse(), "x is a sparse tensor; give tensor.to_dense()"),
        (torch.eye(2, device="meta"), "x is a meta tensor, which has no values; give one on the processor"),
        (
            np.ma.masked_array(VALUES, [[True, False], [False, False]]),
            "x is a masked array with masked entries; fill",
        ),
        ([[1.0], [1.0, 2.0]], "x has rows of different lengths; give an array with equally long rows"),
        ("rows.csv", "x is 'rows.csv'; give an array of real numbers"),
        (torch.nn.Linear(2, 1), "x is of type Linear; give an array of real numbers"),
    ],
)
def test_what_is_no_array_is_refused_in_one_sentence(value, reason):
    with pytest.raises(InputError) as caught:
        as_array(value, "x")
    assert str(caught.value).startswith(reason)
    assert len(str(caught.value)) <= 400


USES = {
    "partition_lines": lambda net: pwlnet.partition_lines(net, [0.0, 0.0], [1.0, 1.0]),
    "region_of": lambda net: pwlnet.region_of(net, [0.0, 0.0]),
    "neuron_entropy": lambda net: pwlnet.neuron_entropy(net, [[0.0, 0.0]]),
    "bound_preactivations": lambda net: pwlnet.bound_preactivations(net, pwlnet.Box([0.0, 0.0], [1.0, 1.0])),
    "check": check_network,
}


@pytest.mark.parametrize("use", USES)
def test_a_module_or_a_path_is_no_network_and_the_message_says_how_to_get_one(use):
    for given, advice in ((torch.nn.Linear(2, 1), "from_torch"), ("net.onnx", "load_network"), (3, "give a Network")):
        with pytest.raises(InputError, match=advice):
            USES[use](given)


# Every public function, with a wrong value in each argument that it needs.

RESULTS = ("ActivationPatterns", "NeuronEntropy", "Region", "Network", "PwlnetError")  # made by pwlnet and not by its users
KEYWORDS = {
    "compare_rules": {"counts": [2]},
    "find_float_neurons": {"method": "crown"},
    "random_regions": {"rng": np.random.default_rng(0)},
    "sample_points": {"rng": np.random.default_rng(0)},
}
NETWORKS = {"a module": torch.nn.Linear(64, 10), "a path": "net.onnx", "nothing": None}
ARRAYS = {
    "sparse": torch.zeros(2, 64).to_sparse(),
    "without values": torch.zeros(2, 64, device="meta"),
    "complex": torch.zeros(2, 64, dtype=torch.complex64),
    "objects": np.array([[None] * 64]),
    "masked": np.ma.masked_array(np.zeros((2, 64)), mask=True),
    "ragged": [[1.0], [1.0, 2.0]],
    "text": "abc",
    "nothing": None,
    "a number": 3.0,
}
NAMES = sorted(name for name in pwlnet._HOMES if callable(getattr(pwlnet, name)) and name not in RESULTS)


def required(function):
    """Names of the arguments that a function needs."""
    kinds = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind in kinds and p.default is p.empty]


def refusal(function, arguments, keywords):
    """The message of the error of pwlnet that a call raises, or an empty text."""
    try:
        result = function(*arguments, **keywords)
        next(iter(result), None) if inspect.isgenerator(result) else None
    except PwlnetError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def digits():
    return pwlnet.load_network(pwlnet.datasets.digits_network("digits_mlp"), check="off")


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_value_in_any_argument_gives_an_error_of_pwlnet_in_one_sentence(name, digits):
    function = getattr(pwlnet, name)
    needed = required(function)
    for position, argument in enumerate(needed):
        wrong = NETWORKS if argument == "network" else ARRAYS
        for value in (*wrong.values(), *(() if argument in ("network", "other") else (digits,))):
            given = [digits if a == "network" else np.zeros((2, 64)) for a in needed]
            given[position] = value
            assert len(refusal(function, given, KEYWORDS.get(name, {}))) <= 400


def test_a_writer_refuses_what_is_no_result(tmp_path, digits):
    with pwlnet.store.create(tmp_path / "store.h5", digits) as writer:
        for append, maker in (
            (writer.append_lines, "partition_lines"),
            (writer.append_planes, "partition_planes"),
            (writer.append_float_sets, "find_float_neurons"),
        ):
            for value in (None, "lines", 3, np.zeros(3), torch.zeros(2), digits, [1]):
                with pytest.raises(InputError, match=f"give what pwlnet.{maker} returns"):
                    append(value)
    for use in (pwlnet.store.open, pwlnet.store.resume, pwlnet.store.repair):
        with pytest.raises(InputError, match="path is of type Network; give the path of a file"):
            use(digits)
