"""Regions of points against exact arithmetic: half-spaces with their error bounds, radii, membership, facets, balls."""

from fractions import Fraction

import numpy as np
import pytest

import pwlnet
from pwlnet.convert.graph import Graph
from pwlnet.convert.lower import lower
from pwlnet.errors import InfeasibleError, InputError, ShapeError
from tests.counts import few
from tests.drawn import draw
from tests.reference import exact_region
from tests.reference.random_networks import DYADIC_SLOPES

NORMS = (1, 2, np.inf)
SEEDS = range(few(200, 4, quick=12))
GENERIC = range(few(120, 3, quick=12))
FACETS = range(few(150, 3, quick=12))


def integer_case(seed):
    """A network with small integer weights, every other one degenerate, on which float64 is exact; a point; its region."""
    description, network, points = draw(seed, degenerate=seed % 2 == 1, slopes=DYADIC_SLOPES, n_points=1)
    return description, network, points[0], pwlnet.region_of(network, points[0])


def generic_case(seed):
    description, network, points = draw(seed, generic=True, n_points=1)
    return description, network, points[0], pwlnet.region_of(network, points[0])


def simple_network(weight, bias):
    graph = Graph((len(weight[0]),), batched=False)
    hidden = graph.relu(graph.linear(graph.input, np.array(weight, float), np.array(bias, float), name="first"), name="relu")
    graph.output = graph.linear(hidden, np.ones((1, len(weight))), name="last")
    return lower(graph)


def cube(size):
    """The region of the middle is the unit cube: x > 0 and 1 - x > 0."""
    return simple_network([*np.eye(size), *-np.eye(size)], [0.0] * size + [1.0] * size)


def without_neurons():
    graph = Graph((3,), batched=False)
    graph.output = graph.linear(graph.input, np.arange(6.0).reshape(2, 3), name="last")
    return lower(graph)


def as_floats(rows, size):
    return np.array([[float(g) for g in row.gradient] for row in rows]).reshape(len(rows), size)


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_are_those_of_exact_arithmetic(seed):
    description, network, x, region = integer_case(seed)
    rows = exact_region.region_rows(description, x)
    varying, constant = ([row for row in rows if any(row.gradient) is varies] for varies in (True, False))
    assert list(zip(region.neurons, region.other_states, strict=True)) == [(row.neuron, row.other) for row in varying]
    assert np.array_equal(region.G, as_floats(varying, len(x)))
    assert np.array_equal(region.margins, [float(row.margin) for row in varying])
    assert region.constant.neurons.tolist() == [row.neuron for row in constant]
    assert region.constant.other_states.tolist() == [row.other for row in constant]
    assert np.array_equal(region.constant.margins, [float(row.margin) for row in constant])
    assert region.on_boundary.tolist() == sorted({row.neuron for row in varying if row.margin == 0})
    assert np.array_equal(region.states, network.states(x)[0])


@pytest.mark.parametrize("seed", GENERIC)
def test_error_bounds_of_rows_hold_against_exact_arithmetic(seed):
    description, _, x, region = generic_case(seed)
    rows = exact_region.region_rows(description, x)
    keys = {(row.neuron, row.other): row for row in rows}
    assert len(region.neurons) + len(region.constant.neurons) == len(rows)
    for m, key in enumerate(zip(region.neurons.tolist(), region.other_states.tolist(), strict=True)):
        row = keys[key]
        assert abs(Fraction(region.margins[m]) - row.margin) <= region.margin_errors[m]
        error = sum(abs(Fraction(g) - exact) for g, exact in zip(region.G[m].tolist(), row.gradient, strict=True))
        assert error <= region.gradient_errors[m]
    assert (region.margin_errors <= 1e-9 * (1.0 + np.abs(region.margins))).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_radii_are_the_exact_ones_and_lower_bounds_are_below_them(seed):
    description, _, x, region = integer_case(seed)
    rows = [row for row in exact_region.region_rows(description, x) if any(row.gradient)]
    duals = {1: lambda g: max(map(abs, g)), np.inf: lambda g: sum(map(abs, g))}
    for norm, dual in duals.items():
        exact = min((row.margin / dual(row.gradient) for row in rows), default=np.inf)
        radius, lower, neuron = region.inradius(norm)
        assert np.isclose(radius, float(exact), rtol=1e-14, atol=0.0)
        assert lower <= exact
        assert neuron == next((row.neuron for row in rows if row.margin / dual(row.gradient) == exact), -1)
    squares = min((row.margin**2 / sum(g * g for g in row.gradient) for row in rows), default=np.inf)
    radius, lower, _ = region.inradius(2)
    assert np.isclose(radius, np.sqrt(float(squares)), rtol=1e-14, atol=0.0)
    assert (Fraction(lower) ** 2 if np.isfinite(lower) else lower) <= squares


@pytest.mark.parametrize("norm", NORMS)
def test_radii_of_many_points_are_those_of_their_regions(norm):
    for seed in range(few(40, 2)):
        _, network, points = draw(seed, degenerate=seed % 2 == 1, n_points=3)
        radii = pwlnet.stable_radii(network, points, norm=norm, threads=1 + seed % 2)
        inner = [pwlnet.region_of(network, x).inradius(norm) for x in points]
        assert np.allclose(radii.radius, [r.radius for r in inner], rtol=1e-12, atol=0.0)
        assert np.allclose(radii.lower, [r.lower for r in inner], rtol=1e-9, atol=0.0)
        assert (radii.lower <= radii.radius).all()
        assert radii.neuron.tolist() == [r.neuron for r in inner]


def worst_direction(g, norm):
    """A direction of unit length in which g increases most."""
    if norm == 1:
        return np.where(np.arange(len(g)) == np.argmax(np.abs(g)), np.sign(g), 0.0)
    return np.sign(g) if norm == np.inf else g / np.linalg.norm(g)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", GENERIC)
def test_all_states_hold_just_inside_the_radius_and_the_named_neuron_flips_just_outside(seed, norm):
    _, network, x, region = generic_case(seed)
    radius, _, neuron = region.inradius(norm)
    if neuron < 0:
        assert radius == np.inf
        return
    assert region.stable_radius(norm)[neuron] == radius
    row = np.flatnonzero(region.neurons == neuron)
    row = row[np.argmin(region.margins[row] / np.linalg.norm(region.G[row], {1: np.inf, 2: 2, np.inf: 1}[norm], axis=1))]
    direction = worst_direction(region.G[row], norm)
    moves = np.random.default_rng(seed).standard_normal((20, len(x)))
    moves /= np.linalg.norm(moves, norm, axis=1)[:, None]
    inside = x + 0.999 * radius * np.concatenate([direction[None], moves])
    assert (network.states(inside) == region.states).all()
    outside = network.states(x + 1.001 * radius * direction)[0]
    assert outside[neuron] == region.other_states[row]


@pytest.mark.parametrize("seed", GENERIC)
def test_a_point_is_in_the_region_where_it_has_the_same_pattern(seed):
    _, network, x, region = generic_case(seed)
    moves = np.random.default_rng(seed).standard_normal((200, len(x))) * 2.0 ** np.arange(-12, 3).repeat(14)[:200, None]
    same = (network.states(x + moves) == region.states).all(axis=1)
    assert np.array_equal(region.contains(x + moves), same)
    assert region.contains(x).all()


def test_membership_is_tested_with_and_without_points_outside():
    """Or the test above would say nothing."""
    shares = []
    for seed in GENERIC:
        _, network, x, _ = generic_case(seed)
        moves = np.random.default_rng(seed).standard_normal((200, len(x))) * 2.0 ** np.arange(-12, 3).repeat(14)[:200, None]
        shares.append((network.states(x + moves) == network.states(x)).all(axis=1).mean())
    assert 0.1 < np.mean(shares) < 0.95


@pytest.mark.parametrize("seed", FACETS)
def test_facets_are_those_of_exact_linear_programs(seed):
    description, network, points = draw(
        seed, degenerate=seed % 2 == 1, slopes=DYADIC_SLOPES, n_points=1, width=(1, 5), depth=(1, 3),
        kinds=("linear", "add", "concat", "reshape", "gather", "relu", "leaky_relu", "clip", "max_pool"),
    )  # fmt: skip
    region = pwlnet.region_of(network, points[0])
    rows = [row for row in exact_region.region_rows(description, points[0]) if any(row.gradient)]
    expected, facets = exact_region.facets(rows), region.facets()
    if expected is None:
        assert not facets.full_dimensional
        assert not len(facets.rows)
        assert len(facets.unclear) == len(rows)
        return
    assert facets.complete
    assert facets.rows.tolist() == [group[0] for group in expected]
    check_witnesses(network, region, facets, expected)


def check_witnesses(network, region, facets, groups):
    """Each witness is on its facet, inside the other rows, and a step across flips what the facet says."""
    G, h = region.unit_rows()
    scale = 1.0 + np.abs(facets.witnesses).max(initial=0.0)
    for n, group in enumerate(groups):
        slack = h - G @ facets.witnesses[n]
        others = np.delete(slack, group)
        assert np.abs(slack[group]).max() < 1e-9 * scale
        assert others.min(initial=np.inf) > 1e-9 * scale
        step = 0.25 * min(1.0, others.min(initial=1.0)) * 2.0**-12
        before, after = (network.states(facets.witnesses[n] + side * step * G[group[0]])[0] for side in (-1, 1))
        flipped = np.flatnonzero(before != after)
        part = slice(facets.flip_offsets[n], facets.flip_offsets[n + 1])
        assert facets.flip_neurons[part].tolist() == flipped.tolist()
        assert facets.flip_states[part].tolist() == after[flipped].tolist()


@pytest.mark.parametrize("seed", GENERIC)
def test_facets_in_a_box_are_the_rows_that_are_crossed_in_it(seed):
    """Against one linear program per row with all others; of rows that are the same half-space, the first."""
    from scipy.optimize import linprog

    _, _, x, region = generic_case(seed)
    box = pwlnet.Box.around(x, 0.5)
    facets = region.facets(box=box)
    assert facets.complete
    G, h = region.unit_rows()
    expected = []
    for m in range(len(G)):
        same = (np.abs(G - G[m]).max(axis=1) < 1e-9) & (np.abs(h - h[m]) < 1e-9)
        if same[:m].any():
            continue
        A, b = G[~same], h[~same]
        bounds = np.column_stack([box.lower, box.upper])
        result = linprog(-G[m], A_ub=A if len(A) else None, b_ub=b if len(A) else None, bounds=bounds, method="highs")
        expected += [m] if -result.fun > h[m] + 1e-7 else []
    assert facets.rows.tolist() == expected
    assert ((facets.witnesses >= box.lower) & (facets.witnesses <= box.upper)).all()


def test_duplicate_and_redundant_neurons_give_one_facet_with_all_flips():
    network = simple_network([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], [0.0, 0.0, 0.0, 5.0, -1.0])
    facets = pwlnet.region_of(network, np.array([0.5, 3.0])).facets()
    assert facets.rows.tolist() == [0]
    assert facets.flip_neurons.tolist() == [0, 1, 2]
    assert facets.flip_states.tolist() == [0, 0, 1]


def test_a_neuron_that_rests_on_its_threshold_flips_with_the_one_before_it():
    graph = Graph((1,), batched=False)
    first = graph.relu(graph.linear(graph.input, np.ones((1, 1)), name="first"), name="relu")
    second = graph.relu(graph.linear(first, np.array([[1.0], [-1.0]]), name="second"), name="relu2")
    graph.output = graph.linear(second, np.ones((1, 2)), name="last")
    network = lower(graph)
    off, on = pwlnet.region_of(network, [-1.0]), pwlnet.region_of(network, [1.0])
    assert off.constant.neurons.tolist() == [1, 2]
    assert off.facets().flip_neurons.tolist() == [0, 1]
    assert on.facets().flip_neurons.tolist() == [0, 1]
    assert off.inradius().neuron == on.inradius().neuron == 0


def test_the_cube_has_its_closed_form_facts():
    region = pwlnet.region_of(cube(3), np.array([0.25, 0.5, 0.5]))
    assert [region.inradius(norm).radius for norm in NORMS] == [0.25, 0.25, 0.25]
    assert region.inradius().neuron == 0
    assert region.stable_radius().tolist() == [0.25, 0.5, 0.5, 0.75, 0.5, 0.5]
    assert region.facets().rows.tolist() == [0, 1, 2, 3, 4, 5]
    for norm in NORMS:
        ball = region.inscribed_ball(norm)
        assert np.allclose(ball.center, 0.5, atol=1e-8)
        assert np.isclose(ball.radius, 0.5, atol=1e-8)
    assert region.contains([[0.0, 1.0, 0.5], [0.0, 1.0, 1.0 + 1e-9]]).tolist() == [True, False]


def test_inscribed_balls_of_a_triangle_depend_on_the_norm():
    network = simple_network([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], [0.0, 0.0, 1.0])
    region = pwlnet.region_of(network, np.array([0.3, 0.3]))
    assert np.isclose(region.inscribed_ball(2).radius, 1.0 / (2.0 + np.sqrt(2.0)), atol=1e-8)
    assert np.isclose(region.inscribed_ball(np.inf).radius, 0.25, atol=1e-8)
    assert np.isclose(region.inscribed_ball(1).radius, 1.0 / 3.0, atol=1e-8)


def test_unbounded_regions_have_balls_of_any_size_and_a_box_bounds_them():
    network = simple_network([[1.0, 0.0]], [0.0])
    region = pwlnet.region_of(network, np.array([2.0, 5.0]))
    assert region.inscribed_ball().radius == np.inf
    ball = region.inscribed_ball(box=pwlnet.Box([-1.0, 0.0], [3.0, 9.0]))
    assert np.isclose(ball.radius, 1.5, atol=1e-8)
    assert np.isclose(ball.center[0], 1.5, atol=1e-8)
    assert region.facets().rows.tolist() == [0]
    assert region.facets(box=pwlnet.Box([0.5, 0.0], [3.0, 9.0])).rows.tolist() == []


def test_a_box_with_sides_of_width_zero_holds_these_inputs_fixed():
    region = pwlnet.region_of(cube(2), np.array([0.5, 0.5]))
    facets = region.facets(box=pwlnet.Box([-1.0, 0.25], [2.0, 0.25]))
    assert facets.rows.tolist() == [0, 2]
    assert np.allclose(facets.witnesses, [[0.0, 0.25], [1.0, 0.25]])
    assert region.inscribed_ball(box=pwlnet.Box([-1.0, 0.25], [2.0, 0.25])).radius == 0.0
    with pytest.raises(InfeasibleError, match="box"):
        region.facets(box=pwlnet.Box([-1.0, 7.0], [2.0, 7.0]))
    with pytest.raises(InfeasibleError, match="box"):
        region.inscribed_ball(box=pwlnet.Box([3.0, 0.0], [4.0, 1.0]))


def test_a_region_without_interior_points_says_so():
    """z and -z are both 0 at the point: the closed region is a line."""
    region = pwlnet.region_of(simple_network([[1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0]), np.zeros(2))
    assert region.on_boundary.tolist() == [0, 1]
    assert region.inradius().radius == region.inradius().lower == 0.0
    facets = region.facets()
    assert (facets.full_dimensional, facets.complete, facets.unclear.tolist()) == (False, False, [0, 1])
    assert region.inscribed_ball().radius == 0.0


@pytest.mark.parametrize("scale", [2.0**-500, 2.0**-40, 2.0**500])
def test_rescaling_the_weights_of_neurons_by_powers_of_two_changes_no_radius(scale):
    weight, bias = np.array([[1.0, 2.0], [-3.0, 0.5], [0.25, -1.0]]), np.array([0.5, 1.0, -0.75])
    x = np.array([0.375, -0.25])
    plain, scaled = (pwlnet.stable_radii(simple_network(f * weight, f * bias), x) for f in (1.0, scale))
    assert plain.radius == scaled.radius
    assert plain.neuron == scaled.neuron
    assert scaled.lower > (1.0 - 1e-12) * scaled.radius
    before, after = (pwlnet.region_of(simple_network(f * weight, f * bias), x).facets() for f in (1.0, scale))
    assert len(before.rows)
    assert before.rows.tolist() == after.rows.tolist()


def test_a_neuron_whose_sign_is_a_rounding_error_is_ambiguous():
    """0.1 + 0.2 - 0.3 is 5.6e-17 in float64, twice the exact value of these floats."""
    region = pwlnet.region_of(simple_network([[0.1, 0.2, -0.3], [1.0, 1.0, 1.0]], [0.0, 0.0]), np.ones(3))
    assert region.ambiguous.tolist() == [0]
    assert region.on_boundary.tolist() == []
    assert 0.0 == region.inradius().lower < region.inradius().radius


def test_a_network_without_neurons_has_one_region():
    network = without_neurons()
    region = pwlnet.region_of(network, np.zeros(3))
    assert region.G.shape == (0, 3)
    assert region.inradius() == (np.inf, np.inf, -1)
    assert region.stable_radius().shape == (0,)
    assert region.facets().complete
    assert region.inscribed_ball().radius == np.inf
    assert region.contains(np.ones((2, 3))).all()
    assert [x.tolist() for x in pwlnet.stable_radii(network, np.zeros((2, 3)))] == [[np.inf] * 2, [-1, -1], [np.inf] * 2]


def test_neurons_that_no_input_reaches_are_constant():
    region = pwlnet.region_of(simple_network([[0.0, 0.0], [0.0, 0.0]], [1.0, 0.0]), np.ones(2))
    assert region.constant.neurons.tolist() == [0, 1]
    assert region.constant.margins.tolist() == [1.0, 0.0]
    assert region.stable_radius().tolist() == [np.inf, np.inf]
    assert region.inradius() == (np.inf, np.inf, -1)


def test_no_points_have_no_radii():
    assert pwlnet.stable_radii(cube(2), np.empty((0, 2))).radius.shape == (0,)


def test_bad_input_is_refused_by_name():
    network = cube(2)
    with pytest.raises(ShapeError, match=r"x has 2 rows; region_of takes one point"):
        pwlnet.region_of(network, np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"norm is 3; the choices are 1, 2 and numpy\.inf"):
        pwlnet.stable_radii(network, np.zeros((1, 2)), norm=3)
    with pytest.raises(ShapeError, match="box has 2 boxes; give one"):
        pwlnet.region_of(network, np.zeros(2)).facets(box=pwlnet.Box(np.zeros((2, 2)), np.ones((2, 2))))
    with pytest.raises(InputError, match=r"domain is a Ball; give one of pwlnet\.Box"):
        pwlnet.region_of(network, np.zeros(2)).facets(box=pwlnet.Ball([0.0, 0.0], 1.0))
