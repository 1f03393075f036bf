"""Train the small control network that pwlnet ships: swing a pendulum up and balance it.

    python data/train_pendulum.py

needs torch, onnx and scipy and takes about a minute on one core. It writes ``networks/pendulum.onnx`` beside this file and
prints its row of the first table of ``data/README.md``, and its numbers. Seeds are fixed and one thread is used: the same
versions of the libraries on the same kind of CPU give the same file.

The angle is 0 in the upright position. Value iteration on a grid of states computes, for each of five torques, the discounted
cost of applying it for one time step and acting optimally afterwards; the network learns to classify states by the best torque.
"""

import hashlib
import itertools
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from scipy import sparse
from torch import nn

HERE = Path(__file__).resolve().parent
TORQUES = np.array([0.0, -2.5, 2.5, -5.0, 5.0])  # N m; it takes 10 to hold the pendulum horizontally
GRAVITY = 10.0  # m / s^2; mass 1 kg, length 1 m
MAX_SPEED = 8.0  # rad / s, of the states of the grid
TIME_STEP = 0.05  # s, of four steps of the semi-implicit Euler method
DISCOUNT = 0.99
SPEED_WEIGHT, TORQUE_WEIGHT = 0.1, 0.1  # the cost per second is angle^2 + 0.1 speed^2 + 0.1 torque^2
N_GRID = 241  # grid points for the angle and for the speed
ENOUGH = 1e-6  # largest change of a cost at which value iteration stops
WIDTHS = (2, 24, 24, 24, 5)
STEPS, BATCH, LEARNING_RATE, SEED = 20000, 2048, 0.004, 0
OPSET = 17


def advance(angle, speed, torque):
    """Simulate one time step; the angle is in [-pi, pi) afterwards."""
    step = TIME_STEP / 4
    for _ in range(4):
        speed = speed + step * (GRAVITY * np.sin(angle) + torque)
        angle = angle + step * speed
    return (angle + np.pi) % (2.0 * np.pi) - np.pi, speed


def cost(angle, speed, torque):
    """Cost of one time step."""
    return TIME_STEP * (angle**2 + SPEED_WEIGHT * speed**2 + TORQUE_WEIGHT * torque**2)


def interpolation(angle, speed):
    """Weights of the grid points around each state: sparse matrix [states, grid points]."""
    a = (angle / np.pi + 1.0) / 2.0 * (N_GRID - 1)
    s = (np.clip(speed / MAX_SPEED, -1.0, 1.0) + 1.0) / 2.0 * (N_GRID - 1)
    i, j = np.minimum(a.astype(int), N_GRID - 2), np.minimum(s.astype(int), N_GRID - 2)
    a, s = a - i, s - j
    columns = np.concatenate([i * N_GRID + j, (i + 1) * N_GRID + j, i * N_GRID + j + 1, (i + 1) * N_GRID + j + 1])
    weights = np.concatenate([(1 - a) * (1 - s), a * (1 - s), (1 - a) * s, a * s])
    return sparse.csr_array((weights, (np.tile(np.arange(len(angle)), 4), columns)), shape=(len(angle), N_GRID**2))


def value_iteration():
    """Solve the control problem on the grid: states [grid points, 2], costs [grid points, torques]."""
    axes = np.linspace(-np.pi, np.pi, N_GRID), np.linspace(-MAX_SPEED, MAX_SPEED, N_GRID)
    states = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    steps = [(cost(*states.T, torque), interpolation(*advance(*states.T, torque))) for torque in TORQUES]
    values, change = np.zeros(len(states)), np.inf
    while change > ENOUGH:
        costs = np.stack([now + DISCOUNT * (after @ values) for now, after in steps], axis=1)
        change, values = np.abs(costs.min(axis=1) - values).max(), costs.min(axis=1)
    return states, costs


def build():
    """A fully connected network of raw angles and speeds; He initialisation."""
    torch.manual_seed(SEED)
    layers = []
    for n_in, n_out in itertools.pairwise(WIDTHS):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    module = nn.Sequential(*layers[:-1])
    for layer in module[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    return module


def train(states, best):
    """Adam with a cosine schedule on random grid points; inputs are scaled to [-1, 1], by the first layer in the end."""
    scale = torch.tensor([1.0 / np.pi, 1.0 / MAX_SPEED], dtype=torch.float32)
    inputs, labels = torch.from_numpy(states.astype(np.float32)) * scale, torch.from_numpy(best)
    module = build()
    optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(labels), (BATCH,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs[rows]), labels[rows]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        module[0].weight *= scale
    return module.eval()


def export(module, path):
    """Write ONNX with a free batch size and without anything about the machine that wrote it."""
    axes = {"state": {0: "batch"}, "scores": {0: "batch"}}
    names = {"input_names": ["state"], "output_names": ["scores"]}
    warnings.filterwarnings("ignore", "You are using the legacy", DeprecationWarning)
    torch.onnx.export(module, (torch.zeros(1, 2),), str(path), dynamo=False, opset_version=OPSET, dynamic_axes=axes, **names)
    model = onnx.load(path)
    for item in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        item.doc_string = ""
        del item.metadata_props[:]
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def simulate(policy, starts, seconds=10.0):
    """Follow a policy: (share of the starts that end upright and at rest, mean discounted cost)."""
    angle, speed = starts.T
    total, discount = np.zeros(len(starts)), 1.0
    for _ in range(round(seconds / TIME_STEP)):
        torque = TORQUES[policy(np.stack([angle, speed], axis=1))]
        total += discount * cost(angle, speed, torque)
        discount *= DISCOUNT
        angle, speed = advance(angle, speed, torque)
    return np.mean((np.abs(angle) < 0.2) & (np.abs(speed) < 0.5)), total.mean()


def main():
    """Solve, train, export, describe."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    states, costs = value_iteration()
    best = costs.argmin(axis=1)
    module = train(states, best)
    path = HERE / "networks" / "pendulum.onnx"
    export(module, path)

    def by_network(points):
        with torch.no_grad():
            return module(torch.from_numpy(points.astype(np.float32))).argmax(dim=1).numpy()

    def by_table(points):
        return (interpolation(*points.T) @ costs).argmin(axis=1)

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    agreement = np.mean(by_network(states) == best)
    print(f"| `{path.relative_to(HERE).as_posix()}` | {path.stat().st_size} | {agreement:.4f} agreement | `{digest}` |\n")
    shares = ", ".join(f"{torque:g}: {np.mean(best == k):.4f}" for k, torque in enumerate(TORQUES))
    print(f"share of the grid points for each torque: {shares}")
    starts = np.random.default_rng(0).uniform([-np.pi, -MAX_SPEED], [np.pi, MAX_SPEED], (2000, 2))
    for name, policy in (("table", by_table), ("network", by_network)):
        upright, total = simulate(policy, starts)
        print(f"{name}: {upright:.4f} of the starts end upright and at rest; mean cost {total:.3f}")


if __name__ == "__main__":
    main()
