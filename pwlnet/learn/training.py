"""Training: one loop for all methods; seeded, and resumable from checkpoints bit for bit.

Legend: N images, S shape of an image, O classes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from .. import validation
from .._types import ArrayLike, FloatArray, PathLike
from ..errors import InputError, NumericalError, PwlnetWarning
from . import checkpoints, classifiers, objectives, relaxations

SCHEDULES = {  # fraction of the epochs that are done -> factor of the learning rate
    "constant": lambda share: 1.0,
    "cosine": lambda share: (1.0 + math.cos(math.pi * share)) / 2.0,
}


class TrainingResult(NamedTuple):
    """Result of training.

    Attributes
    ----------
    model : torch.nn.Module
        The given model, trained in place, in evaluation mode.
    history : dict of str to float64[epochs]
        ``loss`` and ``accuracy``: means over the batches of an epoch, during training, on the images that the method
        trained on (for instance, attacked or noisy ones); ``learning_rate``; for "diffai" also ``epsilon`` and ``kappa`` at
        the end of the epoch.
    """

    model: torch.nn.Module
    history: dict[str, FloatArray]


def train(
    model: torch.nn.Module,
    data: tuple[ArrayLike, ArrayLike],
    method: Literal["standard", "pgd", "diffai", "gaussian", "scrfp2", "consistency"] = "standard",
    *,
    epochs: int,
    seed: int,
    epsilon: float | None = None,
    norm: Literal["linf", "l2"] | None = None,
    steps: int | None = None,
    step_size: float | None = None,
    sigma: float | None = None,
    kappa: float | None = None,
    ramp: tuple[float, float] | None = None,
    amplification: float | None = None,
    n_copies: int | None = None,
    weight: float | None = None,
    entropy_weight: float | None = None,
    clip: tuple[ArrayLike, ArrayLike] | None = (0.0, 1.0),
    batch_size: int = 64,
    learning_rate: float = 0.001,
    weight_decay: float = 0.0,
    schedule: Literal["cosine", "constant"] = "cosine",
    checkpoint: PathLike | None = None,
    checkpoint_every: int = 1,
    resume: bool = False,
    progress: bool = False,
) -> TrainingResult:
    """Train a classifier with AdamW and the cross-entropy: on clean images, or against attacks, boxes or noise.

    Estimate: the result is evaluated by ``accuracy``, ``adversarial_accuracy`` and ``certified_accuracy_ibp``. On the
    same machine, with the same version of torch and number of threads, equal arguments and initial weights give equal bits;
    so does training that is interrupted and resumed from its checkpoint. torch's random state is restored.

    Parameters
    ----------
    model : torch.nn.Module
        A classifier, [N, *S] -> [N, O], with its initial weights; trained in place. For "diffai" a Sequential.
    data : (images, labels)
        float64[N, *S] in the input units of the model, int64[N].
    method : {"standard", "pgd", "diffai", "gaussian", "scrfp2", "consistency"}, optional
        "standard": the loss of the images. "pgd": that of adversarial examples, computed for each batch in evaluation mode
        [1]_. "diffai": kappa times the loss of the images plus 1 - kappa times the loss of the worst scores in a box around
        them [2]_ [3]_. "gaussian": the loss of images with new normal noise in each epoch, which is not clipped.
        "scrfp2": the loss of noisy images, with the gradient of float neurons amplified [4]_: a neuron is float if its states
        at an image and at its noisy version differ; values are unchanged. "consistency": the loss of several noisy versions
        of each image, plus penalties for predictions that differ between them and for predictions without confidence [5]_.
    epochs : int
        Number of passes over the data.
    seed : int
        Seed of the order of the images, the noise, the starts of attacks, and dropout; not negative.
    epsilon : float, optional
        "pgd" and "diffai": radius of the ball in units of the images, for "diffai" in the l_inf norm.
    norm : {"linf", "l2"}, optional
        "pgd": norm of the ball, "linf" by default.
    steps : int, optional
        "pgd": number of steps of the attack, 7 by default; it has one run, from a random start.
    step_size : float, optional
        "pgd": 2.5 epsilon / steps by default.
    sigma : float, optional
        "gaussian", "scrfp2" and "consistency": standard deviation of the noise in units of the images.
    kappa : float, optional
        "diffai": weight of the clean loss at the end, 0.5 by default.
    ramp : (float, float), optional
        "diffai": fractions of the training between which the radius of the box increases from 0 to epsilon, and the weight
        of the clean loss decreases from 1 to kappa, both linearly, batch by batch; (0.1, 0.6) by default.
    amplification : float, optional
        "scrfp2": gradients of the outputs of float neurons are multiplied by 1 + amplification.
    n_copies : int, optional
        "consistency": number of noisy versions of each image, at least 2, which is the default.
    weight : float, optional
        "consistency": weight of the mean divergence (Kullback-Leibler) of the mean prediction from each prediction, 10.0 by
        default.
    entropy_weight : float, optional
        "consistency": weight of the entropy of the mean prediction, 0.5 by default.
    clip : (lower, upper) or None, optional
        The range of the images; attacks are clipped to it, and boxes are intersected with it.
    batch_size : int, optional
        Number of images of a batch. A last batch of a single image is merged with the one before it.
    learning_rate, weight_decay : float, optional
        Options of AdamW.
    schedule : {"cosine", "constant"}, optional
        Schedule of the learning rate, epoch by epoch; "cosine" decreases to zero.
    checkpoint : str or path, optional
        File for the state; replaced atomically. It must not exist unless ``resume`` is True.
    checkpoint_every : int, optional
        Number of epochs between checkpoints; there is always one after the last epoch.
    resume : bool, optional
        Resume from ``checkpoint`` if it exists; data, model and options must be the same.
    progress : bool, optional
        Show a progress bar on stderr.

    Returns
    -------
    TrainingResult
        ``model``, ``history``.

    Raises
    ------
    InputError, ShapeError
        An argument is invalid: an option that the method does not have, images outside ``clip``, labels that are not classes
        of the model.
    UnsupportedOperationError
        "diffai": boxes can't be propagated through the model; the message names the layer.
    NumericalError
        The loss is not finite.
    StoreError
        The checkpoint can't be read or written, or exists. ChecksumError: it is damaged. FormatVersionError: it has another
        version. DigestMismatchError: it has other settings.

    Notes
    -----
    "pgd" costs steps + 1 times as much as "standard", "diffai" about three times. For boxes, batch normalisation uses
    its running statistics and dropout is a no-op, as after training.

    References
    ----------
    .. [1] A. Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, Section 2,
       equation 2.1.
    .. [2] S. Gowal et al., "On the Effectiveness of Interval Bound Propagation for Training Verifiably Robust Models",
       arXiv:1810.12715, 2018, Section 3 (loss, elision of the last layer, schedules of epsilon and kappa).
    .. [3] M. Mirman, T. Gehr, M. Vechev, "Differentiable Abstract Interpretation for Provably Robust Neural Networks",
       ICML 2018: training on an abstract domain; here the interval domain, with the loss of [2]_.
    .. [4] Z. Jiang, PhD thesis, Lancaster University, 2025 (SCRFP-2, named in its abstract); the loss is that of public code
       which is attributed to the author, see ``docs/guide/learning.md``.
    .. [5] J. Jeong, J. Shin, "Consistency Regularization for Certified Robustness of Smoothed Classifiers", NeurIPS 2020
       (the regularised loss).

    Examples
    --------
    >>> import torch, pwlnet
    >>> images, labels = pwlnet.datasets.digits_images()
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> result = pwlnet.learn.train(model, (images, labels), "diffai", epsilon=0.05, epochs=2, seed=0)
    >>> result.history["epsilon"].round(3)
    array([0.033, 0.05 ])
    """
    given: dict[str, Any] = {"epsilon": epsilon, "norm": norm, "steps": steps, "step_size": step_size}
    given |= {"sigma": sigma, "kappa": kappa, "ramp": ramp, "amplification": amplification}
    given |= {"n_copies": n_copies, "weight": weight, "entropy_weight": entropy_weight}
    options = objectives.make_options(method, given)
    settings = _check_settings(method, options, epochs, seed, batch_size, learning_rate, weight_decay, schedule)
    run = _Run(model, data, method, options, clip, settings)
    every = validation.check_count(checkpoint_every, "checkpoint_every")
    _check_checkpoint(checkpoint, resume)
    with _seeded(run.device, settings["seed"]):
        if resume and checkpoint is not None and Path(checkpoint).exists():
            run.restore(checkpoint)
        _run_epochs(run, checkpoint, every, progress)
    return TrainingResult(model.eval(), {name: np.array(column) for name, column in run.history.items()})


def _check_settings(method, options, epochs, seed, batch_size, learning_rate, weight_decay, schedule):
    """Return the settings that a checkpoint must agree with, in addition to the data and the model."""
    return {
        "method": method,
        **{name: value for name, value in options._asdict().items() if value is not None},
        "epochs": validation.check_count(epochs, "epochs"),
        "seed": validation.check_count(seed, "seed", least=0),
        "batch_size": validation.check_count(batch_size, "batch_size"),
        "learning_rate": validation.check_number(learning_rate, "learning_rate", above=True),
        "weight_decay": validation.check_number(weight_decay, "weight_decay"),
        "schedule": validation.check_choice(schedule, SCHEDULES, "schedule"),
    }


def _check_checkpoint(checkpoint, resume):
    if checkpoint is not None:
        checkpoints.check_place(checkpoint, resume)
    elif resume:
        raise InputError("resume is True, but checkpoint is not given; give the file to resume from")


def _run_epochs(run, checkpoint, every, progress):
    from tqdm import tqdm

    epochs = run.settings["epochs"]
    with tqdm(total=epochs, initial=run.epoch, unit="epoch", disable=not progress) as bar:
        while run.epoch < epochs:
            run.train_epoch()
            bar.set_postfix(loss=f"{run.history['loss'][-1]:.4f}", accuracy=f"{run.history['accuracy'][-1]:.4f}", refresh=False)
            bar.update()
            if checkpoint is not None and (run.epoch % every == 0 or run.epoch == epochs):
                checkpoints.save(checkpoint, run.state())


@contextlib.contextmanager
def _seeded(device, seed):
    """Seed torch's random state within the context, and restore it afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


class _Run:
    """State of a training: model, optimizer, random states, history."""

    def __init__(self, model, data, method, options, clip, settings):
        if not isinstance(model, torch.nn.Module):
            raise InputError(f"model is a {type(model).__name__}, which can't be trained; give a torch.nn.Module")
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        if not weights:
            raise InputError("model has no weights to train; give one with parameters that require a gradient")
        self.module, self.options, self.loss = model, options, objectives.METHODS[method].loss
        self.device, self.dtype = classifiers.placement(model)
        images, labels, box = _check_data(data, clip)
        self.settings = settings | _identity(model, images, labels, box)
        self.x, self.y = torch.from_numpy(images).to(self.dtype), torch.from_numpy(labels)
        self.box = box and tuple(torch.from_numpy(c.copy()).to(device=self.device, dtype=self.dtype) for c in box)
        with classifiers.evaluating(model), torch.no_grad():
            logits = model(self.x[:1].to(self.device))
            classifiers.check_classes(logits, self.y[:1])
            classifiers.check_classes(logits.expand(len(self.y), -1), self.y)
        if method == "diffai":
            relaxations.list_layers(model)
        self.optimizer = torch.optim.AdamW(weights, lr=settings["learning_rate"], weight_decay=settings["weight_decay"])
        self.rng = np.random.default_rng(settings["seed"])
        self.epoch = 0
        self.history = {name: [] for name in ("loss", "accuracy", "learning_rate")}
        self.history |= {name: [] for name in ("epsilon", "kappa") if method == "diffai"}

    def train_epoch(self):
        """Train for one pass over the data."""
        rate = self.settings["learning_rate"] * SCHEDULES[self.settings["schedule"]](self.epoch / self.settings["epochs"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.module.train()
        batches = _split(self.rng.permutation(len(self.y)), self.settings["batch_size"])
        total, right = 0.0, 0
        for k, rows in enumerate(batches):
            share = (self.epoch + k / len(batches)) / self.settings["epochs"]
            loss, n_right = self._step(torch.from_numpy(rows), share)
            total, right = total + loss * len(rows), right + n_right
        self.epoch += 1
        record = {"loss": total / len(self.y), "accuracy": right / len(self.y), "learning_rate": rate}
        if "kappa" in self.history:
            record["epsilon"], record["kappa"] = objectives.ramped(self.options, share)
        for name, value in record.items():
            self.history[name].append(value)

    def _step(self, rows, share):
        x, y = self.x[rows].to(self.device), self.y[rows].to(self.device)
        self.optimizer.zero_grad()
        try:
            loss, logits = self.loss(self.module, objectives.Batch(x, y, self.box, share, self.rng), self.options)
            classifiers.check_finite(loss.detach(), "the loss")
        except NumericalError as error:
            raise NumericalError(
                f"the loss is not finite in epoch {self.epoch + 1} of {self.settings['epochs']}; lower learning_rate="
                f"{self.settings['learning_rate']:g}, or check the initial weights"
            ) from error
        loss.backward()
        self.optimizer.step()
        return float(loss.detach()), int((logits.detach().argmax(dim=1) == y).sum())

    def state(self):
        """Return the state that the rest of the training depends on."""
        return {
            "settings": json.dumps(self.settings),
            "environment": json.dumps(_environment()),
            "epoch": self.epoch,
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "numpy_rng": json.dumps(self.rng.bit_generator.state),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "history": self.history,
        }

    def restore(self, path):
        """Restore the state of a checkpoint."""
        state = checkpoints.load(path)
        checkpoints.check_settings(path, json.loads(state["settings"]), json.loads(json.dumps(self.settings)))
        for name, stored in json.loads(state["environment"]).items():
            if stored != _environment()[name]:
                warnings.warn(
                    f"checkpoint {path} was made with {name} {stored}, but now it is {_environment()[name]}; the result is "
                    "equivalent, but differs in its last bits",
                    PwlnetWarning,
                    stacklevel=3,
                )
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = json.loads(state["numpy_rng"])
        torch.set_rng_state(state["torch_rng"])
        if state["cuda_rng"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        self.epoch, self.history = state["epoch"], state["history"]


def _check_data(data, clip):
    try:
        images, labels = data
    except (TypeError, ValueError):
        raise InputError("data is not a pair; give (images, labels)") from None
    images = classifiers.check_images(images)
    return images, classifiers.check_labels(labels, len(images)), classifiers.check_clip(clip, images)


def _identity(model, images, labels, box):
    """Return what identifies the data and the model in checkpoints."""
    sha = hashlib.sha256()
    for array in (images, labels, *(box or ())):
        sha.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    tensors = {name: f"{tuple(tensor.shape)} {tensor.dtype}" for name, tensor in model.state_dict().items()}
    return {"data or clip": sha.hexdigest(), "model": f"{model!r}\n{tensors}"}


def _environment():
    return {"torch": str(torch.__version__), "number of threads": torch.get_num_threads()}


def _split(order, size):
    """Split into batches of ``size`` rows; batch normalisation needs two, so a single last row is added to the last batch."""
    cuts = list(range(size, len(order), size))
    if len(cuts) > 1 and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)
