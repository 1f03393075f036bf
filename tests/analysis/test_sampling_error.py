"""Sampling rules in one sweep against sums over segments and honest sampling; errors and counts against their definitions."""

import numpy as np
import pytest

import pwlnet
from pwlnet import evaluate
from pwlnet.analysis import sampling_rules
from pwlnet.analysis.quadrature import RULES, quadrature_rule
from pwlnet.analysis.sampling_error import METHODS
from tests.counts import few
from tests.described import to_network
from tests.reference.random_cases import random_case

SEEDS_AT_ONCE = 25
AGREE = 1e-10


def partition(name, n=6):
    network = pwlnet.load_network(pwlnet.datasets.digits_network_path(name))
    images, labels = pwlnet.datasets.digits_images()
    return pwlnet.partition_lines(network, np.zeros(64), images[:n]), labels[:n]


@pytest.fixture(scope="module", params=["digits_conv", "digits_mlp"])
def digits(request):
    return partition(request.param)


@pytest.fixture(scope="module")
def mlp():
    return partition("digits_mlp", 4)


def rules_of(counts):
    return [(method, n) for method in RULES for n in counts if n in sampling_rules.rule_counts(method, n, n)]


def attributions_of_segments(part, rules):
    """What rules give with the Jacobians of the segments that their nodes lie in, then the exact ones; the same unsigned."""
    moved = part.start != part.end
    jacobians = (evaluate.jacobians(part.network.code, part.states()) * (part.end - part.start))[:, :, moved]
    for nodes, weights in [*(quadrature_rule(*rule) for rule in rules), (part.t[:-1], np.diff(part.t))]:
        segments = [min(np.flatnonzero(part.t <= node)[-1], len(jacobians) - 1) for node in nodes]
        yield [np.tensordot(weights, j[segments], axes=1) for j in (jacobians, np.abs(jacobians))]


@pytest.mark.parametrize("first", range(0, few(200, 50), SEEDS_AT_ONCE))
def test_rules_give_the_weighted_sums_of_segments_on_random_and_degenerate_nets(first):
    rules = rules_of([1, 2, 3, 7, 16, 31])
    for seed in range(first, min(first + SEEDS_AT_ONCE, few(200, 50))):
        description, starts, ends = random_case(seed)
        network = to_network(description)
        lines = pwlnet.partition_lines(network, starts, ends, threads=1)
        for i, part in enumerate(lines.parts):
            line = sampling_rules.rule_line(lines, i, np.arange(network.n_outputs), None)
            result = sampling_rules.attributions_by_rules(line, rules)
            for got, (expected, unsigned) in zip(result, attributions_of_segments(part, rules), strict=True):
                assert np.abs(got - expected).max(initial=0.0) <= AGREE * (unsigned.max(initial=0.0) or 1.0)


@pytest.mark.parametrize("seed", range(few(40, 3)))
def test_rules_equal_honest_sampling_where_no_node_is_near_a_threshold(seed):
    """States of a forward pass at a node and of its segment may differ on breakpoints and on thresholds only."""
    rng = np.random.default_rng(seed)
    description, starts, ends = random_case(2 * seed)
    starts, ends = starts + 0.1 * rng.normal(size=starts.shape), ends + 0.1 * rng.normal(size=ends.shape)
    network, rules, compared = to_network(description), rules_of([3, 8, 21]), 0
    lines = pwlnet.partition_lines(network, starts, ends, threads=1)
    for i, part in enumerate(lines.parts):
        line = sampling_rules.rule_line(lines, i, np.arange(network.n_outputs), None)
        for (method, n), got in zip(rules, sampling_rules.attributions_by_rules(line, rules), strict=False):
            nodes, _ = quadrature_rule(method, n)
            if np.abs(nodes[:, None] - part.t[None, 1:-1]).min(initial=1.0) < AGREE:
                continue
            ends_of_line = starts[i : i + 1], ends[i : i + 1]
            honest = pwlnet.integrate_gradients(network, *ends_of_line, method=method, n_samples=n, threads=1).values[0]
            assert np.abs(got - honest).max(initial=0.0) <= AGREE * (np.abs(honest).max() or 1.0)
            compared += 1
    assert compared > len(rules)


def test_errors_are_those_of_integrate_gradients(digits):
    lines, labels = digits
    network, (start, end), rows = lines.network, (lines.starts, lines.ends), np.arange(len(lines))
    counts = [2, 3, 20, 51]
    result = pwlnet.compare_rules(lines, labels, counts=counts, methods=tuple(RULES))
    assert result.relative.shape == (len(lines), len(RULES), len(counts))
    assert np.array_equal(result.n_segments, lines.n_segments)
    exact = pwlnet.integrate_gradients(network, start, end).values[rows, labels]
    change = (network.forward(end) - network.forward(start))[rows, labels]
    for m, method in enumerate(RULES):
        for k, n in enumerate(counts):
            if n not in sampling_rules.rule_counts(method, n, n):
                assert np.isnan([result.relative[:, m, k], result.l1[:, m, k], result.completeness[:, m, k]]).all()
                continue
            sampled = pwlnet.integrate_gradients(network, start, end, method=method, n_samples=n).values[rows, labels]
            apart = np.abs(sampled - exact)
            assert result.relative[:, m, k] == pytest.approx((apart / np.abs(exact + 1e-11)).mean(axis=1), rel=1e-7)
            assert result.l1[:, m, k] == pytest.approx(apart.sum(axis=1) / np.abs(exact).sum(axis=1), rel=1e-9)
            expected = np.abs(sampled.sum(axis=1) - change) / np.abs(change)
            assert result.completeness[:, m, k] == pytest.approx(expected, rel=1e-7, abs=1e-12)


def test_several_outputs_per_line_are_those_of_each(mlp):
    lines, labels = mlp
    targets = np.stack([labels, (labels + 3) % 10], axis=1)
    compared = pwlnet.compare_rules(lines, targets, counts=[30, 4], methods=["left", "simpson"])
    counted = pwlnet.count_samples(lines, targets, methods="midpoint", within=0.2)
    recommended = pwlnet.recommend_samples(lines, targets)
    assert compared.l1.shape == (4, 2, 2, 2)
    for c in range(2):
        one = pwlnet.compare_rules(lines, targets[:, c], counts=[30, 4], methods=["left", "simpson"])
        assert compared.l1[:, c] == pytest.approx(one.l1, rel=1e-9, nan_ok=True)
        assert compared.completeness[:, c] == pytest.approx(one.completeness, rel=1e-6, nan_ok=True)
        alone = pwlnet.count_samples(lines, targets[:, c], methods="midpoint", within=0.2)
        assert np.array_equal(counted.l1[:, c], alone.l1)
        assert np.array_equal(counted.relative[:, c], alone.relative)
        alone = pwlnet.recommend_samples(lines, targets[:, c])
        assert np.array_equal(recommended.n_samples[:, c], alone.n_samples)
        assert recommended.relative[:, c] == pytest.approx(alone.relative, rel=1e-6)
    assert pwlnet.compare_rules(lines, 7, counts=5).targets.tolist() == [7, 7, 7, 7]


@pytest.mark.parametrize(("within", "consecutive", "max_samples"), [(0.05, 5, 150), (0.3, 1, 1000), (0.1, 3, 41)])
def test_counts_are_the_first_of_a_run_of_small_errors(digits, within, consecutive, max_samples):
    lines, labels = digits
    limits = {"within": within, "consecutive": consecutive, "max_samples": max_samples}
    result = pwlnet.count_samples(lines, labels, **limits)
    assert (result.within, result.consecutive, result.max_samples) == (within, consecutive, max_samples)
    last = max(
        result.relative.max(), result.l1.max(), max_samples if (result.l1 < 0).any() or (result.relative < 0).any() else 0
    )
    counts = np.arange(1, last + 2 * consecutive)
    errors = pwlnet.compare_rules(lines, labels, counts=counts)
    seen = set()
    for name in ("relative", "l1"):
        for i in range(len(lines)):
            for m in range(len(METHODS)):
                n, e = getattr(result, name)[i, m], getattr(errors, name)[i, m]
                of_rule, small = counts[~np.isnan(e)], e[~np.isnan(e)] < within
                starts = [k for k in range(len(small)) if small[k : k + consecutive].sum() == consecutive]
                expected = of_rule[starts[0]] if starts and of_rule[starts[0]] <= max_samples else -1
                assert n == expected
                seen.add(bool(n > 0))
    assert True in seen


def test_more_sweeps_and_less_memory_give_the_same_counts(digits, monkeypatch):
    lines, labels = digits
    expected = pwlnet.count_samples(lines, labels, max_samples=300), pwlnet.recommend_samples(lines, labels)
    errors = pwlnet.compare_rules(lines, labels, counts=[5, 50, 51])
    monkeypatch.setattr(sampling_rules, "_FIRST_BLOCK", 7)
    monkeypatch.setattr(sampling_rules, "_BATCH_BYTES", 3000)
    monkeypatch.setattr(sampling_rules, "_SEGMENTS_HELD", 3)
    result = pwlnet.count_samples(lines, labels, max_samples=300, threads=1), pwlnet.recommend_samples(lines, labels)
    assert np.array_equal(result[0].relative, expected[0].relative)
    assert np.array_equal(result[0].l1, expected[0].l1)
    assert np.array_equal(result[1].n_samples, expected[1].n_samples)
    again = pwlnet.compare_rules(lines, labels, counts=[5, 50, 51])
    assert np.nanmax(np.abs(again.l1 - errors.l1)) < AGREE


def test_the_recommended_count_is_the_first_that_adds_up(digits):
    lines, labels = digits
    result = pwlnet.recommend_samples(lines, labels, within=0.01, first=20, max_samples=200)
    errors = pwlnet.compare_rules(lines, labels, counts=np.arange(20, 201), methods=["left"])
    for i, n in enumerate(result.n_samples):
        small = np.flatnonzero(errors.completeness[i, 0] < 0.01)
        if not small.size:
            assert n == -1
            assert np.isnan([result.relative[i], result.l1[i]]).all()
            continue
        assert n == 20 + small[0]
        assert result.relative[i] == pytest.approx(errors.relative[i, 0, small[0]], rel=1e-9)
        assert result.l1[i] == pytest.approx(errors.l1[i, 0, small[0]], rel=1e-9)
    assert (result.n_samples > 0).any()
    never = pwlnet.recommend_samples(lines, labels, within=1e-9, max_samples=25)
    assert (never.n_samples == -1).all()


def test_on_a_linear_network_every_rule_is_right_at_once():
    torch = pytest.importorskip("torch")
    network = pwlnet.from_torch(torch.nn.Linear(5, 3).double(), (5,))
    lines = pwlnet.partition_lines(network, np.zeros(5), np.random.default_rng(0).normal(size=(2, 5)))
    result = pwlnet.count_samples(lines, 1, methods=tuple(RULES)[:-1])
    assert np.array_equal(result.relative, [[1, 1, 1, 2, 3, 1]] * 2)
    assert np.array_equal(result.l1, result.relative)
    wrong = pwlnet.compare_rules(lines, 1, counts=[10], methods=["captum_trapezoid"])
    assert wrong.l1 == pytest.approx(0.1)  # its weights sum to 1 - 1/n
    assert wrong.completeness == pytest.approx(0.1)


def test_lines_that_do_not_move_have_no_error(mlp):
    lines, _ = mlp
    still = pwlnet.partition_lines(lines.network, lines.ends, lines.ends)
    result = pwlnet.compare_rules(still, 0, counts=[4])
    assert not np.nan_to_num(result.relative).any()
    assert not np.nan_to_num(result.completeness).any()
    nothing = pwlnet.partition_lines(lines.network, np.zeros((0, 64)), np.zeros((0, 64)))
    assert pwlnet.count_samples(nothing, np.zeros(0, int)).l1.shape == (0, len(METHODS))


def test_a_count_that_no_rule_has_is_not_a_number(mlp):
    lines, labels = mlp
    assert np.isnan(pwlnet.compare_rules(lines, labels, counts=[1], methods=["trapezoid", "simpson"]).l1).all()
    assert (pwlnet.count_samples(lines, labels, methods=["simpson"], max_samples=2).l1 == -1).all()


@pytest.mark.parametrize(
    ("function", "change", "error", "message"),
    [
        ("compare_rules", {"methods": ["exact"]}, "InputError", "method is 'exact'; use some of left, right"),
        ("compare_rules", {"methods": []}, "InputError", "methods is empty"),
        ("compare_rules", {"counts": [0]}, "InputError", r"counts is \[0\]; a list of positive integers"),
        ("compare_rules", {"counts": 1.5}, "InputError", "counts is 1.5"),
        ("compare_rules", {"targets": [1, 2]}, "ShapeError", r"targets has shape \(2,\), but there are 4 lines"),
        ("compare_rules", {"targets": 10}, "InputError", "target 10 was given, but the network has 10 outputs"),
        ("compare_rules", {"targets": 0.5}, "InputError", "targets has dtype float64"),
        ("count_samples", {"within": 0.0}, "InputError", "within is 0.0; a positive number is needed"),
        ("count_samples", {"consecutive": 0}, "InputError", "consecutive is 0; a positive integer"),
        ("count_samples", {"max_samples": 2.5}, "InputError", "max_samples is 2.5"),
        ("recommend_samples", {"first": 0}, "InputError", "first is 0"),
        ("recommend_samples", {"method": "middle"}, "InputError", "method is 'middle'"),
    ],
)
def test_bad_input_gets_its_sentence(mlp, function, change, error, message):
    lines, labels = mlp
    arguments = {"targets": labels} | ({"counts": [5]} if function == "compare_rules" else {}) | change
    with pytest.raises(getattr(pwlnet.errors, error), match=message):
        getattr(pwlnet, function)(lines, **arguments)
