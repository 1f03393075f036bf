"""The subcommand that trains classifiers."""

import time
from pathlib import Path

from .arguments import finite, positive, seed, shape
from .output import on_terminal, show

_IMAGE_SETS = ("mnist", "fashion", "cifar10")
_METHODS = ("standard", "pgd", "diffai", "gaussian", "scrfp2", "consistency")
_OPTIONS = ("epsilon", "norm", "steps", "sigma", "kappa", "amplification", "n_copies", "weight", "entropy_weight", "epochs",
            "seed", "batch_size", "learning_rate", "weight_decay", "resume")  # fmt: skip
_ATTACK = {"steps": 40, "restarts": 2}  # used for the accuracies that are printed


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    train = commands.add_parser(
        "train",
        parents=[common],
        help="train an image classifier: standard, PGD, DiffAI or with Gaussian noise",
        description="Train a classifier with AdamW and write it as ONNX or .h5. Ctrl-C leaves a checkpoint, NET.checkpoint, "
        "from which --resume continues to the same weights. DATA: digits (scikit-learn), mnist, fashion, cifar10, or FILE.npz "
        "with images [N, ...] (numbers from 0 to 1, or uint8) and labels [N], and optionally test_images and test_labels. "
        "Without a test set, rows 3, 7, 11, ... are used for testing, as for digits.",
    )
    train.add_argument("data", metavar="DATA", help="digits, mnist, fashion, cifar10 or FILE.npz")
    train.add_argument("--out", metavar="NET", required=True, help=".onnx or .h5")
    train.add_argument("--method", default="standard", choices=_METHODS, help="default: standard")
    train.add_argument("--epsilon", type=finite, metavar="E", help="radius for pgd and diffai, in units of the images")
    train.add_argument("--norm", choices=("linf", "l2"), help="norm for pgd (default: linf)")
    train.add_argument("--steps", type=positive, metavar="N", help="number of steps of pgd (default: 7)")
    train.add_argument(
        "--sigma", type=finite, metavar="S", help="standard deviation of the noise, for gaussian, scrfp2, consistency"
    )
    train.add_argument("--kappa", type=finite, metavar="K", help="final weight of the clean loss, for diffai (default: 0.5)")
    train.add_argument(
        "--amplification", type=finite, metavar="A", help="factor 1 + A of the gradient of float neurons, for scrfp2"
    )
    train.add_argument(
        "--n-copies", type=positive, metavar="N", help="noisy versions of each image, for consistency (default: 2)"
    )
    train.add_argument("--weight", type=finite, metavar="W", help="weight of the divergence, for consistency (default: 10)")
    train.add_argument(
        "--entropy-weight", type=finite, metavar="W", help="weight of the entropy, for consistency (default: 0.5)"
    )
    train.add_argument("--hidden", type=shape, metavar="N,N,...",
                       help="fully connected layers of N neurons (default: two convolutions, as in the shipped digits "
                       "networks)")  # fmt: skip
    train.add_argument("--epochs", type=positive, default=60, metavar="N", help="number of epochs (default: %(default)s)")
    train.add_argument("--batch-size", type=positive, default=64, metavar="N", help="batch size (default: %(default)s)")
    train.add_argument(
        "--learning-rate", type=finite, default=0.002, metavar="R", help="learning rate of AdamW (default: %(default)s)"
    )
    train.add_argument(
        "--weight-decay", type=finite, default=0.1, metavar="W", help="weight decay of AdamW (default: %(default)s)"
    )
    train.add_argument("--seed", type=seed, default=0, help="seed of weights, order, noise and attacks (default: %(default)s)")
    train.add_argument("--test-epsilon", type=finite, metavar="E",
                       help="l_inf radius for the attacked and certified accuracies (default: --epsilon, unless it is an l2 "
                       "radius)")  # fmt: skip
    existing = train.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace an existing network, and discard its checkpoint")
    existing.add_argument("--resume", action="store_true", help="continue from the checkpoint if there is one")
    train.set_defaults(run=run_train)


def run_train(options):
    """Train, write the network, print accuracies."""
    from .. import learn

    out, checkpoint = Path(options.out), Path(f"{options.out}.checkpoint")
    _check_out(out, options.overwrite)
    training, test = _load(options.data)
    model = _build(options, *training)
    if options.overwrite:
        checkpoint.unlink(missing_ok=True)
    began = time.perf_counter()
    chosen = {name: getattr(options, name) for name in _OPTIONS}
    try:
        result = learn.train(model, training, options.method, **chosen, checkpoint=checkpoint, progress=on_terminal())
    except BaseException as error:
        if checkpoint.exists():
            error.add_note(f"{checkpoint} has the finished epochs; --resume continues, --overwrite starts again")
        raise
    seconds = time.perf_counter() - began
    _write(result.model, training[0].shape[1:], out, options.overwrite)
    checkpoint.unlink(missing_ok=True)
    values = {"network": options.out, "method": options.method, "epochs": options.epochs, "training_images": len(training[1])}
    values |= {"test_images": len(test[1]), "loss": float(result.history["loss"][-1]), "seconds": seconds}
    show(options, values | {"accuracy": _accuracies(options, result.model, training, test)})


def _check_out(out, overwrite):
    """Refuse an output path before the training, not after it."""
    from ..errors import InputError, StoreError

    if out.suffix.lower() not in (".onnx", ".h5"):
        raise InputError(f"--out is {out}, with the suffix {out.suffix!r}; give a path that ends with .onnx or .h5")
    if out.exists() and not overwrite:
        raise StoreError(f"{out} exists; give another path, or --overwrite")


def _load(data):
    """Load training and test data: pairs of images float64[N, *S] in [0, 1] and labels int64[N]."""
    from .. import datasets
    from ..errors import InputError

    if data == "digits":
        return _split(*_digits())
    if data in _IMAGE_SETS:
        return tuple(_scaled(*datasets.load_images(data, split=split)) for split in ("train", "test"))
    if not data.lower().endswith(".npz"):
        raise InputError(f"DATA is {data!r}; give digits, {', '.join(_IMAGE_SETS)} or an .npz file")
    arrays = _read_arrays(data)
    training = _scaled(arrays["images"], arrays["labels"])
    if "test_images" in arrays and "test_labels" in arrays:
        return training, _scaled(arrays["test_images"], arrays["test_labels"])
    return _split(*training)


def _digits():
    """Load the digits of scikit-learn: images float64[1797, 1, 8, 8] in [0, 1] and labels int64[1797]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        message = "the training images of digits are part of scikit-learn, which can't be imported; pip install scikit-learn"
        raise ImportError(f"{message}, or give FILE.npz", name="sklearn") from error
    digits = load_digits()
    return digits.images[:, None] / 16.0, digits.target.astype("int64")


def _read_arrays(path):
    """Read the arrays of training data from an .npz file: dict."""
    from ..errors import InputError
    from .arguments import read_rows

    arrays = {}
    for name in ("images", "labels", "test_images", "test_labels"):
        try:
            arrays[name] = read_rows(f"{path}:{name}")
        except InputError:
            if name in ("images", "labels"):
                raise
    return arrays


def _scaled(images, labels):
    """Scale uint8 images to [0, 1], leave other images as they are, and check the labels."""
    import numpy as np

    from ..errors import InputError, ShapeError

    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim < 2 or labels.shape != images.shape[:1]:
        raise ShapeError(f"images has shape {images.shape} and labels {labels.shape}; give (N, ...) and (N,)")
    if images.dtype.kind not in "uif" or labels.dtype.kind not in "iu" or not labels.size:
        raise InputError(
            f"there are {labels.size} images of dtype {images.dtype} with labels of dtype {labels.dtype}; give real numbers as "
            "images, integers as labels, and at least one image"
        )
    return (images / 255.0 if images.dtype == np.uint8 else images.astype(np.float64)), labels.astype(np.int64)


def _split(images, labels):
    """Split into training and test data; rows 3, 7, 11, ... are the test data, as for the shipped digits."""
    import numpy as np

    is_test = np.arange(len(images)) % 4 == 3
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])


def _build(options, images, labels):
    """Build the network with its initial weights."""
    import numpy as np

    from ..learn.architectures import build_conv, build_mlp

    n_classes = int(labels.max()) + 1
    if options.hidden is not None:
        return build_mlp(int(np.prod(images.shape[1:])), options.hidden, n_classes, seed=options.seed)
    return build_conv(images.shape[1:], n_classes, seed=options.seed)


def _write(model, input_shape, out, overwrite):
    if out.suffix.lower() == ".onnx":
        from ..learn.architectures import export_onnx

        export_onnx(model, input_shape, out, overwrite=overwrite)
        return
    from ..convert import from_torch

    if overwrite:
        out.unlink(missing_ok=True)
    from_torch(model, input_shape).save(out)


def _accuracies(options, model, training, test):
    """Compute accuracies: on clean images, and on the test set also under PGD and certified by interval bounds."""
    import numpy as np

    from .. import learn

    accuracies = {"training": learn.accuracy(model, *training), "test": learn.accuracy(model, *test)}
    epsilon = options.epsilon if options.test_epsilon is None and options.norm != "l2" else options.test_epsilon
    if epsilon is not None:
        rng = np.random.default_rng(options.seed)
        accuracies["test_epsilon"] = epsilon
        accuracies["test_attacked"] = learn.adversarial_accuracy(model, *test, epsilon=epsilon, rng=rng, **_ATTACK)
        accuracies["test_certified"] = learn.certified_accuracy_ibp(model, *test, epsilon=epsilon)
    return accuracies
