"""Repressed passes of torch modules: direct formulas, the definition of float, gradients, bits of plain passes, refusals."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import pwlnet
from pwlnet.errors import InputError, ShapeError, UnsupportedOperationError
from pwlnet.smoothing.module_pass import check_rows, repressed_scores, statuses


def draws(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class Residual(nn.Module):
    """A residual network with all kinds of switching functions, in functional and in module form."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.drop, self.last = nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Linear(16, 3)
        self.act = nn.PReLU(4)

    def forward(self, x):
        x = self.norm(self.first(x))
        y = functional.relu(x, inplace=True)
        y = functional.max_pool2d(self.act(self.second(y)) + y, 2)
        y = torch.maximum(y, 0.5 * y.flip(1)).clamp(-1.0, 2.0)
        return self.last(self.drop(y.abs().flatten(1))).log_softmax(dim=1)


def build(make, seed=0):
    torch.manual_seed(seed)
    return make().double()


def mlp():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.25), nn.Linear(8, 3))


MODULES = {"mlp": (mlp, (4,)), "residual": (Residual, (2, 4, 4))}


def direct(module, points, references, eta, passes):
    """Repress an mlp by its formulas."""
    first, _, second, _, last = module
    x, r = first(points), first(references)
    plain = second(torch.relu(x)), second(torch.relu(r))
    y = torch.relu(x) * torch.where((x > 0) == (r > 0), 1.0, 1.0 + eta)
    z = second(y)
    is_float = ((plain[0] if passes == 2 else z) > 0) != (plain[1] > 0)
    return last(functional.leaky_relu(z, 0.25) * torch.where(is_float, 1.0 + eta, 1.0))


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("n_references", [1, 20])
def test_repressed_scores_are_those_of_the_formula(passes, n_references):
    module, points, references = build(mlp), draws(20, 4), draws(n_references, 4, seed=1)
    for eta in (-1.0, -0.25, 0.5):
        found = repressed_scores(module, points, references, eta=eta, passes=passes)
        expected = direct(module, points, references, eta, passes)
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
        assert not torch.allclose(found, module(points))


def test_one_and_two_passes_differ_where_repression_changes_later_pieces():
    module, points, references = build(mlp), draws(50, 4), draws(50, 4, seed=1)
    one, two = (repressed_scores(module, points, references, eta=-1.0, passes=passes) for passes in (1, 2))
    assert 0 < (one != two).any(dim=1).sum() < 50


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MODULES)
def test_without_repression_scores_are_the_plain_ones_bit_for_bit(name, dtype):
    make, shape = MODULES[name]
    module, points, references = (
        build(make).to(dtype).eval(),
        draws(7, *shape, dtype=dtype),
        draws(7, *shape, seed=1, dtype=dtype),
    )
    expected = module(points)
    ones = [torch.ones(status.shape[1:]) for status in statuses(module, points)]
    for options in ({}, {"references": references}, {"references": references[:1], "passes": 1}, {"factors": ones}):
        assert torch.equal(repressed_scores(module, points, **options), expected)
    for passes in (1, 2):  # equal points are on the same pieces: only neurons at thresholds are float, and only pools tie
        found = repressed_scores(module, points, points.clone(), eta=-0.5, passes=passes)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", MODULES)
def test_scores_of_a_row_do_not_depend_on_the_others(name):
    make, shape = MODULES[name]
    module, points, references = build(make), draws(9, *shape), draws(9, *shape, seed=1)
    for passes in (1, 2):
        together = repressed_scores(module, points, references, eta=-0.5, passes=passes)
        alone = [repressed_scores(module, points[k : k + 1], references[k : k + 1], eta=-0.5, passes=passes) for k in range(9)]
        torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)
        shared = repressed_scores(module, points, references[2:3], eta=-0.5, passes=passes)
        expanded = repressed_scores(module, points, references[2:3].expand_as(points), eta=-0.5, passes=passes)
        torch.testing.assert_close(shared, expanded, rtol=1e-12, atol=1e-12)


def test_repression_by_factors_equals_repression_by_the_statuses_of_two_passes():
    module, points, references = build(Residual), draws(6, 2, 4, 4), draws(6, 2, 4, 4, seed=1)
    pairs = zip(statuses(module, points), statuses(module, references), strict=True)
    factors = [torch.where((a == b) & (a != 0), 1.0, 0.75).double() for a, b in pairs]
    assert len(factors) == 6 and sum(0.75 < factor.mean() < 1 for factor in factors) >= 4
    expected = repressed_scores(module, points, references, eta=-0.25)
    torch.testing.assert_close(repressed_scores(module, points, factors=factors), expected, rtol=1e-14, atol=1e-14)


def test_statuses_are_the_states_of_the_converted_network():
    layers = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 9), nn.Hardtanh(), nn.Linear(9, 5), nn.LeakyReLU(), nn.Linear(5, 2)
    module, points = nn.Sequential(*layers).double(), 3.0 * draws(40, 4)
    first, second, third = statuses(module, points)
    assert 0 not in torch.cat([first, second, third], dim=1) and len(second.unique()) == 3
    states = torch.cat([(first + 1) // 2, second - 1, (third + 1) // 2], dim=1)
    assert states.tolist() == pwlnet.from_torch(module, (4,)).states(points.numpy()).tolist()


def test_neurons_at_a_threshold_and_tied_windows_are_float():
    relu, pool = nn.Sequential(nn.Hardtanh(1.0, 2.0)), nn.Sequential(nn.MaxPool1d(2), nn.Flatten())
    points = torch.tensor([[1.0, 2.0, 1.5, 3.0]])
    assert repressed_scores(relu, points, points, eta=-0.5).tolist() == [[0.5, 1.0, 1.5, 2.0]]
    windows = torch.tensor([[[1.0, 1.0, 2.0, 1.0]]])
    assert repressed_scores(pool, windows, windows, eta=-0.5).tolist() == [[0.5, 2.0]]


def test_gradients_hold_statuses_constant_and_reach_points_weights_and_factors():
    module, points, references = build(mlp), draws(5, 4).requires_grad_(), draws(5, 4, seed=1).requires_grad_()
    found = repressed_scores(module, points, references, eta=-0.5)
    expected = direct(module, points, references, -0.5, 2)
    tensors = [points, *module.parameters()]
    for a, b in zip(torch.autograd.grad(found.sum(), tensors), torch.autograd.grad(expected.sum(), tensors), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    factors = [torch.ones(5, 8, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    repressed_scores(module, points, factors=factors).sum().backward()
    last = module[4].weight.sum(dim=0) * functional.leaky_relu(module[2](torch.relu(module[0](points))), 0.25)
    torch.testing.assert_close(factors[1].grad, last, rtol=1e-12, atol=1e-12)
    assert references.grad is None


def test_the_mode_of_each_part_is_restored_and_statistics_are_unchanged():
    module, points = build(Residual), draws(3, 2, 4, 4)
    module.second.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.inference_mode():
        repressed_scores(module, points, points[:1], eta=-0.5)
    assert module.training and module.norm.training and not module.second.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


class Centred(nn.Module):
    def forward(self, x):
        return torch.relu(x - x.mean(dim=0))


class Shuffled(nn.Module):
    def forward(self, x):
        return torch.relu(x).flip(0)


class Tall(nn.Module):
    def forward(self, x):
        return torch.relu(x).reshape(-1, 1)


@pytest.mark.parametrize("module", [Centred(), Shuffled()])
def test_modules_that_mix_rows_are_refused(module):
    for points in (torch.ones(1, 3), torch.rand(4, 3)):
        with pytest.raises(InputError, match="depend on the other rows of the batch"):
            check_rows(module, points)


@pytest.mark.parametrize(
    "module", [nn.Sequential(nn.BatchNorm1d(3, track_running_stats=False)), nn.Sequential(nn.Linear(3, 2), nn.GELU())]
)
def test_modules_with_batch_statistics_or_smooth_activations_are_refused_by_name(module):
    name = "gelu" if isinstance(module[0], nn.Linear) else "batch_norm in training mode"
    with pytest.raises(UnsupportedOperationError, match=name):
        repressed_scores(module, torch.rand(4, 3))


TWO = torch.ones(2, 4, dtype=torch.float64)
WRONG = [
    ({"points": [1.0]}, InputError, "points is a list; give a tensor"),
    ({"points": torch.ones(2, 4, dtype=torch.int64)}, InputError, "points is a torch.int64"),
    ({"points": TWO[:0]}, ShapeError, r"points has shape \(0, 4\)"),
    ({"references": TWO[:, :3]}, ShapeError, r"references has shape \(2, 3\), but points \(2, 4\)"),
    ({"references": TWO, "passes": 3}, InputError, "passes is 3; the choices are 1 and 2"),
    ({"references": TWO, "eta": -2.0}, InputError, "eta is -2.0; a finite number of at least -1"),
    ({"eta": -0.5}, InputError, "eta is -0.5, but references is not given"),
    ({"references": TWO, "factors": []}, InputError, "references and factors are both given"),
    ({"factors": [torch.ones(8)]}, ShapeError, "factors has 1 tensors, but the module has more switching calls"),
    ({"factors": [torch.ones(8)] * 3}, ShapeError, "factors has 3 tensors, but the module has 2 switching calls"),
    ({"factors": [torch.ones(7)] * 2}, ShapeError, r"factors\[0\] has shape \(7,\), but the output of relu has \(2, 8\)"),
    ({"module": Tall().double()}, ShapeError, "the module gives shape"),
    ({"module": torch.relu}, InputError, "module is a builtin_function_or_method"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
def test_wrong_arguments_are_refused(options, error, message):
    options = {"module": build(mlp), "points": TWO, **options}
    with pytest.raises(error, match=message):
        repressed_scores(**options)


def test_automatic_casting_is_refused():
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(InputError, match=r"disable torch\.autocast"):
        repressed_scores(build(mlp), TWO)
