"""The networks of the experiments with their test images: shipped networks, and others if their files are available.

Those of public files are in the folder ``PWLNET_DATA_DIR``, those that the scripts of ``data/`` train in the folder
``datasets.trained_folder()``. ``slices.py`` has the control networks, with slices in place of images.

Legend: n images, D inputs of the network.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import datasets, shipped
from ..errors import InputError, MissingDataError
from ..loading import load_network
from ..network import Network
from . import slices

_PLAIN = ((0.0,), (1.0,))  # the network takes pixels; it may normalise them itself
_MNIST = ((0.1307,), (0.3081,))
_CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_TRAININGS = {"standard": "standard training", "pgd": "PGD training", "diffai": "DiffAI training"}
_NOISE = {"noise0": "standard", "noise10": "noise 0.1", "noise25": "noise 0.25"}  # ends of names of files: trainings


class Description(NamedTuple):
    """Description of a subject that can be loaded.

    Attributes
    ----------
    key : str
    title : str
        Name in tables and figures.
    training : {"standard", "noise 0.1", "noise 0.25", "consistency 0.25", "pgd", "diffai", ...}
        The numbers are standard deviations of normal noise.
    dataset : {"digits", "mnist", "cifar10"}
    file : str
        A name of ``pwlnet.datasets``; for the digits networks, of ``datasets.digits_network_path``.
    normalisation : (mean, deviation)
        For each channel; the input of the network is (pixels - mean) / deviation.
    commands : tuple of (str, str), optional
        Of a network that was trained by a script: names of files in ``datasets.trained_folder()``, that of the network and, if
        it has one, that of its denoiser, each with the command that makes it.
    """

    key: str
    title: str
    training: str
    dataset: str
    file: str
    normalisation: tuple = _PLAIN
    commands: tuple = ()

    def files(self):
        """Return the public files that are needed: tuple of names of ``pwlnet.datasets``."""
        if self.dataset == "digits":
            return ()
        images, labels, _ = datasets.IMAGES[self.dataset, "test"]
        return (*images, labels) if self.commands else (self.file, *images, labels)

    def load(self):
        """Load the network and its images: Subject."""
        paths = _trained_files(self)
        if not paths:
            paths = [(datasets.digits_network_path if self.dataset == "digits" else datasets.fetch)(self.file)]
        if self.dataset == "digits":
            images, labels = datasets.digits_images()
        else:
            images, labels = datasets.load_images(self.dataset, split="test")
            images = images / 255.0
        mean, deviation = (np.repeat(values, images[0].size // len(values)) for values in self.normalisation)
        network, *denoiser = map(load_network, paths)
        return Subject(*self[:4], network, images.reshape(len(images), -1), labels, mean, deviation, *denoiser)


@dataclass(frozen=True, eq=False)
class Subject:
    """A network and its test images; the result of ``load``.

    Attributes
    ----------
    key, title, training, dataset : str
        As in ``Description``.
    network : Network
    images : float64[n, D]
        Pixels in [0, 1], in the order of the network's inputs.
    labels : int64[n]
    mean, deviation : float64[D]
        Normalisation of the inputs; 0 and 1 if there is none, or the network has it built in.
    denoiser : Network, optional
        Trained for the noise of the network, in pixels.
    """

    key: str
    title: str
    training: str
    dataset: str
    network: Network
    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    mean: np.ndarray = field(repr=False)
    deviation: np.ndarray = field(repr=False)
    denoiser: Network | None = field(default=None, repr=False)

    def __len__(self):
        """Return the number of images."""
        return len(self.images)

    def to_input(self, pixels):
        """Normalise pixels for the network: float64[*, D] to float64[*, D]."""
        return (pixels - self.mean) / self.deviation

    def is_right(self, i):
        """Return whether the network classifies image ``i`` correctly: bool."""
        return int(self.network.forward(self.to_input(self.images[i]))[0].argmax()) == int(self.labels[i])


def _convsmall(dataset, name, method, file):
    return Description(
        f"{dataset}_convsmall_{name}",
        f"{dataset.upper()} convSmall, {_TRAININGS[method]}",
        method,
        dataset,
        f"{dataset}/eran_convsmall/convSmallRELU__{file}.onnx",
    )


def _mlp(name):
    """Describe a shipped network by its name, such as "digits_mlp8_noise10"."""
    method = _NOISE.get(name.split("_")[2], name.split("_")[2])
    depth = name.split("_")[1].removeprefix("mlp")
    return Description(name, f"digits MLP of depth {depth}, {_TRAININGS.get(method, method)}", method, "digits", name)


def _trained(dataset, method, percent):
    """Describe a network of data/train_smoothing.py, with the denoiser of its noise."""
    sigma, name = percent / 100, "MNIST" if dataset == "mnist" else "CIFAR10"
    key = f"{dataset}_{method}{'_' if method[-1].isdigit() else ''}{percent}"
    script = f"python data/train_smoothing.py --data {dataset} --method {{}} --sigma {sigma:g} --out FOLDER"
    commands = ((f"{key}.onnx", script.format(method)), (f"{dataset}_denoiser{percent}.onnx", script.format("denoiser")))
    training = f"{'noise' if method == 'gaussian' else method} {sigma:g}"
    return Description(key, f"{name} convSmall size, {training}", training, dataset, "", commands=commands)


def _other_seed(name, seed):
    """Describe a network of data/train_digits_noise.py with another seed."""
    command = f"python data/train_digits_noise.py --seed {seed} --out FOLDER/seed{seed}"
    described = _mlp(name)
    return described._replace(
        key=f"{name}_seed{seed}",
        title=f"{described.title}, seed {seed}",
        file="",
        commands=((f"seed{seed}/{name}.onnx", command),),
    )


_ALL = (
    *(Description(f"digits_conv_{m}", f"digits conv, {t}", m, "digits", f"digits_conv_{m}") for m, t in _TRAININGS.items()),
    *map(_mlp, shipped.DEPTH_NETWORKS),
    Description("digits_mlp", "digits MLP of depth 8 without normalisation, noise 0.1", "noise 0.1", "digits", "digits_mlp"),
    _convsmall("mnist", "point", "standard", "Point"),
    _convsmall("mnist", "pgd", "pgd", "PGD"),
    _convsmall("mnist", "diffai", "diffai", "DiffAI"),
    _convsmall("cifar10", "point", "standard", "Point"),
    _convsmall("cifar10", "pgd", "pgd", "PGDK"),
    _convsmall("cifar10", "diffai", "diffai", "DiffAI"),
    Description("mnist_convmed", "MNIST convMed", "standard", "mnist", "trained_here/mnist_convmed.onnx", _MNIST),
    Description("mnist_convbig", "MNIST convBig", "standard", "mnist", "trained_here/mnist_convbig.onnx", _MNIST),
    Description("cifar10_convmed", "CIFAR10 convMed", "standard", "cifar10", "trained_here/cifar_convmed.onnx", _CIFAR10),
    Description("cifar10_convbig", "CIFAR10 convBig", "standard", "cifar10", "trained_here/cifar_convbig.onnx", _CIFAR10),
    Description("digits_conv_noise25", "digits conv, noise 0.25", "noise 0.25", "digits", "digits_conv_noise25"),
    *(_other_seed("digits_mlp15_noise25", seed) for seed in (4, 5)),
    *(_trained("mnist", *each) for each in (("gaussian", 25), ("gaussian", 50), ("consistency", 25), ("scrfp2", 25))),
    *(_trained("cifar10", method, 25) for method in ("gaussian", "consistency")),
)
SUBJECTS = {subject.key: subject for subject in (*_ALL, *slices.ALL)}
DIGITS = tuple(f"digits_conv_{method}" for method in _TRAININGS)
DEPTHS = (*shipped.DEPTH_NETWORKS, "digits_mlp")
CONVSMALL = tuple(key for key in SUBJECTS if "_convsmall_" in key)
CONVLARGE = tuple(key for key in SUBJECTS if key.endswith(("_convmed", "_convbig")))  # standard training only
NOISE = tuple(key for key in SUBJECTS if key == "digits_conv_noise25" or getattr(SUBJECTS[key], "commands", ()))
SLICES = tuple(subject.key for subject in slices.ALL)


def choose(keys, requested=None):
    """Choose subjects of an experiment: the requested ones, or all whose files are available.

    Parameters
    ----------
    keys : sequence of str
        Keys of all subjects of the experiment.
    requested : sequence of str, optional
        The requested keys, or prefixes of keys: "mnist" and "mnist_convsmall" choose all keys that start with them, and
        "digits_mlp15_noise25" only itself, as it is a key.

    Returns
    -------
    chosen : list of str
        Keys, in the order of ``keys``.
    missing : dict of str to str
        Without ``requested``, the reason why each other subject is skipped, by key.

    Raises
    ------
    InputError
        A name matches no subject of the experiment.
    """
    if requested is None:
        missing = {key: _missing(SUBJECTS[key]) for key in keys}
        return [key for key in keys if not missing[key]], {key: reason for key, reason in missing.items() if reason}
    chosen = set()
    for name in [requested] if isinstance(requested, str) else requested:
        matching = [name] if name in keys else [key for key in keys if key.startswith(f"{name}_")]
        if not matching:
            raise InputError(f"the experiment has no network {name!r}; give some of {', '.join(keys)}")
        chosen.update(matching)
    return [key for key in keys if key in chosen], {}


def load(key):
    """Load a subject.

    Parameters
    ----------
    key : str
        A key of ``SUBJECTS``.

    Returns
    -------
    Subject or slices.Slices

    Raises
    ------
    InputError
        The subject does not exist.
    MissingDataError, ChecksumError
        As for ``datasets.fetch``; MissingDataError, too, if a network has not been trained yet.
    ImportError
        onnx is not installed, or pillow in the case of CIFAR-10.
    """
    if key not in SUBJECTS:
        raise InputError(f"key is {key!r}; give one of {', '.join(SUBJECTS)}")
    return SUBJECTS[key].load()


def _trained_files(described):
    """Return the paths of the files that a script makes, the network first: list of Path."""
    folder, paths = datasets.trained_folder() if described.commands else None, []
    for name, command in described.commands:
        paths.append(folder / name)
        if not paths[-1].is_file():
            raise MissingDataError(
                f"{described.title} needs {name}, which is not in {datasets.TRAINED_VARIABLE}={folder}; make it by "
                f"`{command.replace('FOLDER', str(folder))}`"
            )
    return paths


def _missing(described):
    """Return the reason why a subject can't be loaded from local files, or None."""
    try:
        if getattr(described, "commands", ()):
            _trained_files(described)
    except (MissingDataError, ImportError) as error:
        return str(error)
    folder = os.environ.get(datasets.FOLDER_VARIABLE)
    for name in described.files():
        if not folder:
            return f"{described.title} needs {name}; set {datasets.FOLDER_VARIABLE} to a folder that contains it"
        if not (Path(folder) / name).is_file():
            return f"{described.title} needs {name}, which is not in {datasets.FOLDER_VARIABLE}={folder}; copy it there"
    return None
