"""The shipped control network: its path, its agreement with the optimal policy, and that it balances the pendulum."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import pwlnet
from pwlnet import datasets
from pwlnet.errors import InputError

pytest.importorskip("onnx")
pytest.importorskip("torch")

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture(scope="module")
def training():
    """The script that trained the network."""
    spec = importlib.util.spec_from_file_location("train_pendulum", DATA / "train_pendulum.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def policy():
    network = pwlnet.load_network(datasets.control_network_path())
    return lambda states: network.forward(states).argmax(axis=1)


def test_another_name_is_refused():
    with pytest.raises(InputError, match="no shipped control network is called 'cart'; the names are pendulum"):
        datasets.control_network_path("cart")


def test_the_network_agrees_with_value_iteration_as_the_readme_says(training, policy):
    (agreement,) = re.findall(r"`networks/pendulum.onnx` \| \d+ \| ([\d.]+) agreement", (DATA / "README.md").read_text())
    states, costs = training.value_iteration()
    assert np.mean(policy(states) == costs.argmin(axis=1)) == pytest.approx(float(agreement), abs=0.0005)


def test_the_network_swings_the_pendulum_up_and_balances_it(training, policy):
    starts = np.random.default_rng(1).uniform([-np.pi, -8.0], [np.pi, 8.0], (200, 2))
    upright, _ = training.simulate(policy, starts)
    assert upright == 1.0
    hanging = np.array([[np.pi - 0.01, 0.0]])
    assert training.simulate(lambda states: np.zeros(len(states), int), hanging)[0] == 0.0
