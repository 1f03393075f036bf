"""Bounds of pre-activations contain every exact value, whatever the op, the method and the scale."""

from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.errors import InputError, ShapeError
from tests.counts import few
from tests.described import to_network
from tests.reference import exact_line
from tests.reference.description import clip_bounds, live, pool_windows, shapes
from tests.reference.random_cases import random_case
from tests.reference.random_networks import random_network

METHODS = ("ibp", "crown_ibp", "crown", "alpha_crown")


def bound(network, domain, method, **options):
    return pwlnet.bound_preactivations(network, domain, method=method, n_steps=2, **options)


def random_box(rng, n, *, scale=1.0):
    """A box with some sides of width zero, and integer or random ends."""
    center = rng.integers(-3, 4, n).astype(float) if rng.random() < 0.5 else rng.standard_normal(n)
    width = rng.choice([0.0, 0.25, 1.0, 3.0], n) * (1.0 if rng.random() < 0.5 else rng.random(n))
    return pwlnet.Box((center - width) * scale, (center + width) * scale)


class ExactLine:
    """Exact minima and maxima of all signals on a line through a set."""

    def __init__(self, description, start, end):
        self.description = description
        self.line = exact_line.trace(description, start, end)
        self.shapes = shapes(description)
        self.switching = [k for k, node in enumerate(description) if node["kind"] in exact_line.SWITCHING]

    def ends(self, number):
        """Values of the entries of a node's output at both ends of all segments: Fractions [2 segments, entries]."""
        pieces, denominator = self.line.signals[number]
        t = np.array([x for pair in zip(self.line.t[:-1], self.line.t[1:], strict=True) for x in pair], object)
        pieces = np.repeat(pieces, 2, axis=0)
        return (pieces[:, 0] + pieces[:, 1] * t[:, None]) * Fraction(1, denominator)

    def check_bounds(self, lower, upper, output_lower, output_upper):
        sources = [k if self.description[k]["kind"] == "max_pool" else self.description[k]["inputs"][0] for k in self.switching]
        values = [self.ends(k) for k in sources]
        joined = np.concatenate(values, axis=1) if values else np.zeros((1, 0))
        assert_within(joined, lower, upper)
        assert_within(self.ends(len(self.description) - 1), output_lower, output_upper)

    def check_states(self, states):
        """Each proved state is right on the whole line."""
        first = 0
        for k in self.switching:
            node, source = self.description[k], self.description[k]["inputs"][0]
            values, here = self.ends(source), self.ends(k)
            for j in range(here.shape[1]):
                state = int(states[first + j])
                if state >= 0 and node["kind"] == "max_pool":
                    entry = dict(pool_windows(node, self.shapes[source])[j])[state]
                    assert (values[:, entry] == here[:, j]).all()
                elif state >= 0:
                    z = values[:, j]
                    low, high = (0, 0) if node["kind"] != "clip" else clip_bounds(node)
                    least = {0: None, 1: low, 2: high}[state]
                    most = {0: low, 1: high if node["kind"] == "clip" else None, 2: None}[state]
                    assert least is None or (z >= least).all()
                    assert most is None or (z <= most).all()
            first += here.shape[1]


def assert_within(values, lower, upper):
    """All rows of Fractions lie within the bounds."""
    assert values.shape[1] == len(lower) == len(upper)
    assert not np.isnan(lower).any()
    assert not np.isnan(upper).any()
    for column, a, b in zip(values.T, lower.tolist(), upper.tolist(), strict=True):
        assert a == -np.inf or Fraction(a) <= min(column)
        assert b == np.inf or max(column) <= Fraction(b)


def check_case(description, box, rng, *, lines=2, monotone=True):
    """Compare the bounds of all methods with exact ranges on lines between corners of a box, and on its diagonal."""
    network = to_network(description)
    bounds = {method: bound(network, box, method) for method in METHODS}
    ends = [(box.lower, box.upper)]
    for _ in range(lines):
        ends.append([np.where(rng.random(box.lower.shape) < 0.5, box.lower, box.upper) for _ in range(2)])
    for start, end in ends:
        line = ExactLine(description, start, end)
        for found in bounds.values():
            line.check_bounds(found.lower[0], found.upper[0], found.output_lower[0], found.output_upper[0])
            line.check_states(found.states[0])
    ibp, crown_ibp, crown, alpha = (bounds[method] for method in METHODS)
    for outer, inner in ((ibp, crown_ibp), (ibp, crown), (crown, alpha)):
        for name in ("lower", "upper", "output_lower", "output_upper"):
            a, b = getattr(outer, name), getattr(inner, name)
            assert (b >= a).all() if name.endswith("lower") else (b <= a).all()
        assert ((outer.states < 0) | (inner.states == outer.states)).all()
    return bounds


@pytest.mark.parametrize("seed", range(few(400, 2, quick=16)))
def test_exact_values_on_lines_are_within_the_bounds_of_all_methods(seed):
    description, starts, ends = random_case(seed)
    line_box = pwlnet.Box(np.minimum(starts[0], ends[0]), np.maximum(starts[0], ends[0]))
    rng = np.random.default_rng(seed)
    check_case(description, line_box if seed % 3 == 0 else random_box(rng, starts.shape[1]), rng)


@pytest.mark.parametrize("seed", range(few(200, 2, quick=10)))
def test_exact_values_are_within_the_bounds_at_hostile_scales(seed):
    """Weights of 1e-150 to 1e150 and denormal ones, sums that cancel, inputs of any size."""
    rng = np.random.default_rng([seed, 7])
    description = live(random_network(rng, degenerate=seed % 2 == 0, generic=seed % 2 == 1, depth=(1, 4)))
    for node in description:
        exponents = rng.choice([-1060, -500, -100, 0, 0, 0, 30, 100, 500])
        for name in ("weight", "bias"):
            if isinstance(node.get(name), np.ndarray):
                node[name] = np.ldexp(node[name], exponents if name == "weight" else rng.choice([exponents, 0, 53]))
        if node["kind"] == "linear" and len(node["weight"]) > 1:  # differences that cancel
            node["weight"][-1] = node["weight"][0] * (1.0 + 2.0**-50)
    if any(
        not np.isfinite(node[name]).all()
        for node in description
        for name in ("weight", "bias")
        if hasattr(node.get(name), "dtype")
    ):
        pytest.skip("the scaled weights overflow")
    n = int(np.prod(description[0]["shape"]))
    box = random_box(rng, n, scale=2.0 ** rng.choice([-1030, -500, 0, 0, 50, 500]))
    with np.errstate(over="ignore", invalid="ignore"):
        check_case(description, box, rng)


@pytest.mark.parametrize("seed", range(few(60, 1, quick=10)))
def test_no_sampled_value_is_outside_the_bounds_of_boxes_and_balls(seed):
    rng = np.random.default_rng([seed, 3])
    description = live(random_network(rng, degenerate=False, generic=True, depth=(2, 5), width=(2, 8)))
    network = to_network(description)
    center, radius = rng.standard_normal((2, network.n_inputs)), rng.choice([0.0, 0.1, 1.0], 2)
    n = few(20000, 20, quick=1000)
    for norm in (1, 2, np.inf):
        direction = rng.standard_normal((n, 2, network.n_inputs))
        corners = rng.random(n) < 0.5
        if norm == 1:
            direction[corners] *= np.eye(network.n_inputs)[rng.integers(network.n_inputs, size=corners.sum())][:, None]
        elif norm == np.inf:
            direction[corners] = np.sign(direction[corners])
        sizes = np.linalg.norm(direction, ord=norm, axis=2, keepdims=True)
        points = center + direction / np.maximum(sizes, 1e-300) * radius[:, None] * rng.random((n, 1, 1)) ** (
            1 - corners[:, None, None]
        )
        for method in METHODS:
            found = bound(network, pwlnet.Ball(center, radius, norm), method)
            for b in range(2):
                slack = 1e-13 * (1.0 + np.abs(found.upper[b]) + np.abs(found.lower[b]))  # of the points and the forward pass
                z = network.preactivations(points[:, b])
                assert (z >= found.lower[b] - slack).all()
                assert (z <= found.upper[b] + slack).all()


def one_layer(weight, bias):
    return to_network([
        {"kind": "input", "inputs": [], "shape": (weight.shape[1],)},
        {"kind": "linear", "inputs": [0], "weight": weight, "bias": bias},
        {"kind": "relu", "inputs": [1]},
    ])  # fmt: skip


@pytest.mark.parametrize(("norm", "dual"), [(1, np.inf), (2, 2), (np.inf, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_the_first_layer_over_a_ball_is_its_value_plus_or_minus_the_radius_times_the_dual_norm(norm, dual, method):
    rng = np.random.default_rng(1)
    weight, bias, x = rng.standard_normal((7, 5)), rng.standard_normal(7), rng.standard_normal(5)
    found = bound(one_layer(weight, bias), pwlnet.Ball(x, 0.25, norm), method)
    z, reach = weight @ x + bias, 0.25 * np.linalg.norm(weight, ord=dual, axis=1)
    np.testing.assert_allclose(found.lower[0], z - reach, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(found.upper[0], z + reach, rtol=1e-13, atol=1e-13)
    assert (found.lower[0] <= z - reach + 1e-15).all()


def test_bounds_over_a_point_are_its_values_up_to_rounding():
    for seed in range(10):
        description = live(random_network(np.random.default_rng(seed), degenerate=False, generic=True))
        network = to_network(description)
        x = np.random.default_rng(seed).standard_normal(network.n_inputs)
        for method in METHODS:
            found = bound(network, pwlnet.Box(x, x), method)
            z = network.preactivations(x)[0]
            np.testing.assert_allclose(found.lower[0], z, rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(found.upper[0], z, rtol=1e-11, atol=1e-11)


def test_results_do_not_depend_on_the_batch_or_the_number_of_threads():
    description = live(random_network(np.random.default_rng(11), degenerate=False, generic=True, depth=(3, 3), width=(4, 8)))
    network, rng = to_network(description), np.random.default_rng(0)
    center = rng.standard_normal((9, network.n_inputs))
    for method in METHODS:
        together = bound(network, pwlnet.Box.around(center, 0.1), method, threads=2)
        for b in (0, 4, 8):
            alone = bound(network, pwlnet.Box.around(center[b], 0.1), method, threads=1)
            assert (alone.lower[0] == together.lower[b]).all()
            assert (alone.upper[0] == together.upper[b]).all()
            assert (alone.output_lower[0] == together.output_lower[b]).all()


@pytest.mark.parametrize("seed", range(few(40, 1, quick=8)))
def test_bounds_with_imposed_states_hold_on_the_part_of_the_box_that_has_them(seed):
    description, _, _ = random_case(seed)
    network, rng = to_network(description), np.random.default_rng(seed)
    if not network.n_neurons:
        pytest.skip("no neurons")
    center = rng.integers(-2, 3, network.n_inputs) + 0.5
    box = pwlnet.Box(center - 1.0, center + 1.0)
    points = rng.uniform(box.lower, box.upper, (400, network.n_inputs))
    states, z, y = network.states(points), network.preactivations(points), network.forward(points)
    imposed = np.where(rng.random(network.n_neurons) < 0.4, states[0], -1)
    inside = ((imposed < 0) | (states == imposed)).all(axis=1)
    assert inside[0]
    for method in METHODS:
        found = bound(network, box, method, known=imposed)
        assert not found.empty[0]
        assert (found.states[0][imposed >= 0] == imposed[imposed >= 0]).all() or (states[inside] != found.states[0]).any()
        slack = 1e-12 * (1.0 + np.abs(z[inside]).max())
        assert (z[inside] >= found.lower[0] - slack).all()
        assert (z[inside] <= found.upper[0] + slack).all()
        assert (y[inside] >= found.output_lower[0] - slack * (1 + np.abs(y).max())).all()


def test_states_that_no_point_has_make_the_set_empty():
    network = one_layer(np.array([[1.0], [-1.0]]), np.array([-0.5, -0.5]))  # active right of 0.5, and left of -0.5
    box = pwlnet.Box([-1.0], [1.0])
    assert bound(network, box, "ibp", known=[1, -1]).empty.tolist() == [False]
    assert bound(network, pwlnet.Box([-1.0], [0.25]), "ibp", known=[1, -1]).empty.tolist() == [True]


def test_what_bounds_proved_is_used_by_the_next_ones():
    description = live(random_network(np.random.default_rng(5), degenerate=False, generic=True, depth=(3, 3), width=(4, 8)))
    network = to_network(description)
    box = pwlnet.Box.around(np.zeros(network.n_inputs), 0.3)
    crown = bound(network, box, "crown")
    again = bound(network, box, "ibp", known=crown)
    assert (again.lower >= crown.lower).all()
    assert (again.output_lower >= bound(network, box, "ibp").output_lower).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_specification_bounds_differences_better_than_the_difference_of_bounds(method):
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    images, _ = pwlnet.datasets.digits_images()
    box = pwlnet.Box.around(images[:2].reshape(2, -1), 0.02)
    matrix = np.eye(10)[[0]] - np.eye(10)[1:]
    found = bound(network, box, method, spec=(matrix, np.full(9, 0.5)), slopes=True)
    direct = found.output_lower[:, :1] - found.output_upper[:, 1:] + 0.5
    assert (found.spec_lower >= direct - 1e-9).all()
    assert (found.spec_lower > direct).any()
    points = np.random.default_rng(0).uniform(box.lower, box.upper, (100, 2, 64))
    for b in range(2):
        values = network.forward(points[:, b]) @ matrix.T + 0.5
        assert (values >= found.spec_lower[b]).all()
        assert (values <= found.spec_upper[b]).all()
        linear = np.einsum("md,nd->nm", found.spec_slopes[b], points[:, b])
        if method in ("crown_ibp", "crown"):
            least = np.minimum(found.spec_slopes[b] * box.lower[b], found.spec_slopes[b] * box.upper[b]).sum(axis=1)
            assert (values >= found.spec_lower[b] + linear - least - 1e-9).all()


def test_only_open_neurons_get_linear_bounds_if_requested():
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path("digits_mlp"))
    images, _ = pwlnet.datasets.digits_images()
    box = pwlnet.Box.around(images[:3].reshape(3, -1), 0.02)
    full, fast = bound(network, box, "crown"), bound(network, box, "crown", only_open=True)
    assert (fast.lower <= full.lower + 1e-12).all()
    assert (np.abs(fast.output_lower - full.output_lower) < 0.05 * np.abs(full.output_lower)).all()


BOX = pwlnet.Box([-1.0, -1.0], [1.0, 1.0])
NETWORK = one_layer(np.eye(2), np.zeros(2))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "deeppoly"}, InputError, "method is .deeppoly.; the choices are .ibp., .crown_ibp., .crown., "),
        ({"domain": pwlnet.Segment([0.0], [1.0])}, InputError, "domain is a Segment; give one of pwlnet.Box, pwlnet.Ball"),
        ({"domain": pwlnet.Box([0.0], [1.0])}, ShapeError, "lower has shape"),
        ({"known": [0, 2]}, InputError, "known has state 2 for neuron 1, which has states 0 to 1"),
        ({"known": [0.5, 1.0]}, InputError, "known has dtype float64"),
        ({"known": [0, 1, 0]}, ShapeError, r"known has shape \(3,\)"),
        ({"spec": (np.eye(3), np.zeros(3))}, ShapeError, r"spec has shapes \(3, 3\)"),
        ({"spec": ([[np.nan, 0.0]], [0.0])}, InputError, "spec has 1 rows with NaN"),
        ({"domain": pwlnet.Ball([0.0, 0.0], [1.0, 2.0])}, ShapeError, "radius has 2 entries, but there are 1 centers"),
        ({"n_steps": -1}, InputError, "n_steps is -1"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(change, error, message):
    arguments = {"domain": BOX} | change
    with pytest.raises(error, match=message):
        pwlnet.bound_preactivations(NETWORK, **arguments)
