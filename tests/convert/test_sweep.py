"""A slice of the sweep of the readers (`sweep`); the whole of it at the full level."""

import numpy as np
import pytest
import torch

import pwlnet
from tests.convert import sweep
from tests.convert.sweep_modules import cases
from tests.counts import LEVEL, few

NAMES = sorted(cases())
FULL = LEVEL == "full"


def _wrong(outcomes):
    return [(o.setting, o.opset, o.reason) for o in outcomes if o.verdict == "wrong"]


@pytest.mark.filterwarnings("ignore")
def test_modules_are_taken_right_or_refused_from_torch():
    chosen = NAMES if FULL else NAMES[3::24]
    outcomes = list(sweep.sweep_torch(chosen, (), ()))
    assert not _wrong(outcomes)
    assert sum(o.verdict == "right" for o in outcomes) > len(chosen) // 2


@pytest.mark.filterwarnings("ignore")
def test_exports_are_taken_right_or_refused_in_every_opset():
    chosen = NAMES if FULL else NAMES[5::60]
    outcomes = list(sweep.sweep_torch(chosen, sweep.OPSETS if FULL else (9, 17), ()))
    assert not _wrong(outcomes)
    assert any(o.verdict == "right" and o.opset == "9" for o in outcomes)


@pytest.mark.filterwarnings("ignore")
def test_random_chains_are_taken_right():
    outcomes = list(sweep.sweep_random(range(few(300, quick=4)), sweep.OPSETS))
    assert not _wrong(outcomes)


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="takes minutes; runs at the full level")
@pytest.mark.filterwarnings("ignore")
def test_single_nodes_of_the_tests_of_onnx_are_taken_right_or_refused():
    outcomes = list(sweep.sweep_nodes())
    assert not _wrong(outcomes)
    assert sum(o.verdict == "right" for o in outcomes) > 100


class _Doubled(torch.nn.Module):
    def forward(self, x):
        return 2.0 * x


def test_the_sweep_sees_a_wrong_conversion():
    wrong = pwlnet.from_torch(_Doubled(), (3,))
    points = np.random.default_rng(0).standard_normal((4, 3))
    outcome = sweep.judge("op", "setting", "torch", lambda check: wrong, points, lambda x: 2.0001 * x, sweep.IN_FLOAT64)
    assert outcome.verdict == "wrong" and outcome.reason.startswith("differs by")
    right = sweep.judge("op", "setting", "torch", lambda check: wrong, points, lambda x: x + x, sweep.IN_FLOAT64)
    assert right.verdict == "right"


def test_the_sweep_sees_a_foreign_error():
    def leak(check):
        raise KeyError("x")

    outcome = sweep.judge("op", "setting", "torch", leak, np.zeros((1, 1)), None, sweep.IN_FLOAT64)
    assert (outcome.verdict, outcome.reason) == ("wrong", "KeyError: 'x'")


@pytest.mark.parametrize(
    ("function", "nature"),
    [(np.abs, "piecewise linear"), (np.floor, "steps"), (np.tanh, "curved"), (lambda x: 3 * x - 1, "piecewise linear")],
)
def test_the_nature_of_a_function_is_seen_on_a_line(function, nature):
    line = np.linspace(-2.0, 2.0, sweep.N_LINE)[:, None]
    assert sweep.nature(function(line)) == nature
