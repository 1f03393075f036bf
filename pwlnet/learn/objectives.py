"""Training objectives: a table of methods with their loss for one batch, and the schedules of their weights.

Legend: B images, S shape of an image, O classes.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from .. import validation
from ..errors import InputError
from . import amplification, attacks, classifiers, relaxations


class Options(NamedTuple):
    """Validated options of a method with defaults; None for options that the method does not have."""

    epsilon: float | None = None
    norm: str | None = None
    steps: int | None = None
    step_size: float | None = None
    sigma: float | None = None
    kappa: float | None = None
    ramp: tuple[float, float] | None = None
    amplification: float | None = None
    n_copies: int | None = None
    weight: float | None = None
    entropy_weight: float | None = None


class Batch(NamedTuple):
    """One batch, and the progress of training.

    Attributes
    ----------
    x : [B, *S]
        Images in the model's dtype.
    y : int64[B]
        Classes.
    box : (lower, upper) or None
        Tensors that images are clipped to.
    share : float
        Fraction of all batches that are done, from 0 to 1.
    rng : numpy.random.Generator
    """

    x: torch.Tensor
    y: torch.Tensor
    box: tuple
    share: float
    rng: np.random.Generator


class Method(NamedTuple):
    """A method: its loss (module, batch, options) -> (loss, logits [B, O]), and its options."""

    loss: object
    required: tuple
    defaults: dict


def _standard(module, batch, options):
    logits = module(batch.x)
    return functional.cross_entropy(logits, batch.y), logits


def _tensor(array, like):
    return torch.from_numpy(array).to(device=like.device, dtype=like.dtype)


def _noisy(batch, options):
    """Add new normal noise to the images of a batch."""
    return batch.x + options.sigma * _tensor(batch.rng.standard_normal(tuple(batch.x.shape)), batch.x)


def _gaussian(module, batch, options):
    logits = module(_noisy(batch, options))
    return functional.cross_entropy(logits, batch.y), logits


def _scrfp2(module, batch, options):
    logits = amplification.amplified_scores(module, _noisy(batch, options), batch.x, options.amplification)
    return functional.cross_entropy(logits, batch.y), logits


def _consistency(module, batch, options):
    copies = torch.cat([_noisy(batch, options) for _ in range(options.n_copies)])
    logits = module(copies)
    cross_entropy = functional.cross_entropy(logits, batch.y.repeat(options.n_copies))
    logs = functional.log_softmax(logits, dim=1).reshape(options.n_copies, *batch.y.shape, -1)
    mean_log = torch.logsumexp(logs, dim=0) - math.log(options.n_copies)
    mean = mean_log.exp()
    divergence = (mean * (mean_log - logs)).sum(dim=2).mean()
    entropy = -(mean * mean_log).sum(dim=1).mean()
    return cross_entropy + options.weight * divergence + options.entropy_weight * entropy, mean_log


def _pgd(module, batch, options):
    attack = attacks.Attack(options.norm, options.epsilon)
    start = _tensor(attacks.NORMS[options.norm].start(batch.rng, tuple(batch.x.shape)), batch.x)
    with classifiers.evaluating(module):
        options_of_run = {"start": start, "steps": options.steps, "step_size": options.step_size}
        x = attacks.ascend(module, attack, batch.x, batch.y, batch.box, **options_of_run)
    logits = module(x)
    return functional.cross_entropy(logits, batch.y), logits


def ramped(options, share):
    """Return the radius of the box and the weight of the clean loss after a fraction of the training: (epsilon, kappa)."""
    first, last = options.ramp
    progress = min(max((share - first) / (last - first), 0.0), 1.0) if last > first else float(share >= last)
    return options.epsilon * progress, 1.0 - (1.0 - options.kappa) * progress


def _diffai(module, batch, options):
    epsilon, kappa = ramped(options, batch.share)
    logits = module(batch.x)
    clean = functional.cross_entropy(logits, batch.y)
    if epsilon == 0:
        return clean, logits
    box = relaxations.ball(batch.x, epsilon, batch.box)
    worst = -relaxations.margins(relaxations.list_layers(module), box, batch.y)
    return kappa * clean + (1.0 - kappa) * functional.cross_entropy(worst, batch.y), logits


METHODS = {
    "standard": Method(_standard, (), {}),
    "pgd": Method(_pgd, ("epsilon",), {"norm": "linf", "steps": 7, "step_size": None}),
    "diffai": Method(_diffai, ("epsilon",), {"kappa": 0.5, "ramp": (0.1, 0.6)}),
    "gaussian": Method(_gaussian, ("sigma",), {}),
    "scrfp2": Method(_scrfp2, ("sigma", "amplification"), {}),
    "consistency": Method(_consistency, ("sigma",), {"n_copies": 2, "weight": 10.0, "entropy_weight": 0.5}),
}


def _check_ramp(ramp, name):
    try:
        first, last = (float(share) for share in ramp)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {ramp!r}; give two fractions of the training, such as (0.1, 0.6)") from None
    if not 0 <= first <= last <= 1:
        raise InputError(f"{name} is {ramp!r}; give two fractions of the training between 0 and 1, the smaller one first")
    return first, last


def _check_kappa(kappa, name):
    if validation.check_number(kappa, name) > 1:
        raise InputError(f"{name} is {kappa!r}; a weight between 0 and 1 is needed")
    return float(kappa)


CHECKS = {
    "epsilon": lambda value, name: validation.check_number(value, name, above=True),
    "norm": lambda value, name: validation.check_choice(value, attacks.NORMS, name),
    "steps": validation.check_count,
    "step_size": lambda value, name: validation.check_number(value, name, above=True),
    "sigma": lambda value, name: validation.check_number(value, name, above=True),
    "kappa": _check_kappa,
    "ramp": _check_ramp,
    "amplification": lambda value, name: validation.check_number(value, name, above=True),
    "n_copies": lambda value, name: validation.check_count(value, name, least=2),
    "weight": validation.check_number,
    "entropy_weight": validation.check_number,
}


def make_options(method, given):
    """Validate the options of a method that are not None, and add its defaults."""
    validation.check_choice(method, METHODS, "method")
    required, defaults = METHODS[method].required, METHODS[method].defaults
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if name not in (*required, *defaults):
            takes = ", ".join((*required, *defaults)) or "none of the methods' options"
            raise InputError(f"{name} is given, but method={method!r} does not take it (it takes {takes}); leave it out")
    for name in required:
        if name not in given:
            raise InputError(f"method={method!r} needs {name}; give it")
    checked = {name: CHECKS[name](value, name) for name, value in given.items()}
    options = Options(**{**defaults, **checked})
    if method == "pgd" and options.step_size is None:
        options = options._replace(step_size=2.5 * options.epsilon / options.steps)
    return options
