"""The subcommand that trains classifiers."""

import sys
import time
from pathlib import Path

from .arguments import positive, shape
from .output import show

_IMAGE_SETS = ("mnist", "fashion", "cifar10")
_ATTACK = {"steps": 40, "restarts": 2}  # of the accuracies that are printed


def add_commands(commands, common):
    """Add the parsers of this module's subcommands."""
    train = commands.add_parser(
        "train",
        parents=[common],
        help="train a classifier of images: standard, PGD, DiffAI or with Gaussian noise",
        description="Train a classifier by AdamW and write it as ONNX, or as .h5. Ctrl-C leaves a checkpoint beside it, "
        "NET.checkpoint, with which --resume goes on to the same weights. DATA: digits (of scikit-learn; rows 3, 7, 11, ... "
        "test), mnist, fashion, cifar10, or FILE.npz with images [N, ...] (numbers from 0 to 1, or bytes) and labels [N], "
        "and test_images and test_labels or else the same rows for the test.",
    )
    train.add_argument("data", metavar="DATA", help="digits, mnist, fashion, cifar10 or FILE.npz")
    train.add_argument("--out", metavar="NET", required=True, help=".onnx or .h5")
    train.add_argument(
        "--method", default="standard", choices=("standard", "pgd", "diffai", "gaussian"), help="default: standard"
    )
    train.add_argument("--epsilon", type=float, metavar="E", help="radius of pgd and diffai, in units of the images")
    train.add_argument("--norm", choices=("linf", "l2"), help="of pgd (default: linf)")
    train.add_argument("--steps", type=positive, metavar="N", help="of pgd (default: 7)")
    train.add_argument("--sigma", type=float, metavar="S", help="of gaussian: standard deviation of the noise")
    train.add_argument("--kappa", type=float, metavar="K", help="of diffai: weight of the clean loss at the end (default: 0.5)")
    train.add_argument("--hidden", type=shape, metavar="N,N,...",
                       help="full layers of N neurons (default: two convolutions, as the shipped digits networks)")  # fmt: skip
    train.add_argument("--epochs", type=positive, default=60, metavar="N", help="default: %(default)s")
    train.add_argument("--batch-size", type=positive, default=64, metavar="N", help="default: %(default)s")
    train.add_argument("--learning-rate", type=float, default=0.002, metavar="R", help="of AdamW (default: %(default)s)")
    train.add_argument("--weight-decay", type=float, default=0.1, metavar="W", help="of AdamW (default: %(default)s)")
    train.add_argument("--seed", type=int, default=0, help="of weights, order, noise and attacks (default: %(default)s)")
    train.add_argument("--test-epsilon", type=float, metavar="E",
                       help="l_inf radius of attacked and certified accuracies (default: --epsilon, unless of l2)")  # fmt: skip
    existing = train.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_true", help="replace an existing network, and forget its checkpoint")
    existing.add_argument("--resume", action="store_true", help="go on from the checkpoint where it is there")
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
    chosen = {name: getattr(options, name) for name in ("epsilon", "norm", "steps", "sigma", "kappa", "epochs", "seed")}
    chosen |= {name: getattr(options, name) for name in ("batch_size", "learning_rate", "weight_decay", "resume")}
    try:
        result = learn.train(model, training, options.method, **chosen, checkpoint=checkpoint, progress=sys.stderr.isatty())
    except BaseException as error:
        if checkpoint.exists():
            error.add_note(f"{checkpoint} holds the epochs that are done; --resume goes on, --overwrite starts anew")
        raise
    seconds = time.perf_counter() - began
    _write(result.model, training[0].shape[1:], out, options.overwrite)
    checkpoint.unlink(missing_ok=True)
    values = {"network": options.out, "method": options.method, "epochs": options.epochs, "training_images": len(training[1])}
    values |= {"test_images": len(test[1]), "loss": float(result.history["loss"][-1]), "seconds": seconds}
    show(options, values | {"accuracy": _accuracies(options, result.model, training, test)})


def _check_out(out, overwrite):
    """Refuse a place before the training, not after it."""
    from ..errors import InputError, StoreError

    if out.suffix.lower() not in (".onnx", ".h5"):
        raise InputError(f"--out is {out}, with the suffix {out.suffix!r}; give a path that ends with .onnx or .h5")
    if out.exists() and not overwrite:
        raise StoreError(f"{out} exists; give another path, or --overwrite")


def _load(data):
    """Training and test data: pairs of images float64[N, *S] in [0, 1] and labels int64[N]."""
    from .. import datasets
    from ..errors import InputError

    if data == "digits":
        return _split(*_digits())
    if data in _IMAGE_SETS:
        return tuple(_scaled(*datasets.load_images(data, split=split)) for split in ("train", "test"))
    if not data.lower().endswith(".npz"):
        raise InputError(f"DATA is {data!r}; give digits, {', '.join(_IMAGE_SETS)} or a file .npz")
    arrays = _read_arrays(data)
    training = _scaled(arrays["images"], arrays["labels"])
    if "test_images" in arrays and "test_labels" in arrays:
        return training, _scaled(arrays["test_images"], arrays["test_labels"])
    return _split(*training)


def _digits():
    """All digits of scikit-learn: float64[1797, 1, 8, 8] in [0, 1], int64[1797]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        message = "the training images of the digits come with scikit-learn, which can't be imported; pip install scikit-learn"
        raise ImportError(f"{message}, or give FILE.npz", name="sklearn") from error
    digits = load_digits()
    return digits.images[:, None] / 16.0, digits.target.astype("int64")


def _read_arrays(path):
    """The arrays of an .npz file that belong to training data: dict."""
    from ..errors import InputError
    from .arguments import read_rows

    found = {}
    for name in ("images", "labels", "test_images", "test_labels"):
        try:
            found[name] = read_rows(f"{path}:{name}")
        except InputError:
            if name in ("images", "labels"):
                raise
    return found


def _scaled(images, labels):
    """Bytes from 0 to 1, other numbers as they are; as many labels as images, at least one."""
    import numpy as np

    from ..errors import InputError, ShapeError

    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim < 2 or labels.shape != images.shape[:1]:
        raise ShapeError(f"images has shape {images.shape} and labels {labels.shape}; give (N, ...) and (N,)")
    if images.dtype.kind not in "uif" or labels.dtype.kind not in "iu" or not labels.size:
        raise InputError(
            f"there are {labels.size} images of {images.dtype} with labels of {labels.dtype}; give numbers, whole ones as "
            "labels, and at least one image"
        )
    return (images / 255.0 if images.dtype == np.uint8 else images.astype(np.float64)), labels.astype(np.int64)


def _split(images, labels):
    """Rows 3, 7, 11, ... are for the test, as those of the shipped digits."""
    import numpy as np

    is_test = np.arange(len(images)) % 4 == 3
    return (images[~is_test], labels[~is_test]), (images[is_test], labels[is_test])


def _build(options, images, labels):
    """The network with its initial weights."""
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
    """Shares of images: clean ones, and of the test also those that PGD does not fool and that boxes certify."""
    import numpy as np

    from .. import learn

    found = {"training": learn.accuracy(model, *training), "test": learn.accuracy(model, *test)}
    epsilon = options.epsilon if options.test_epsilon is None and options.norm != "l2" else options.test_epsilon
    if epsilon is not None:
        rng = np.random.default_rng(options.seed)
        found["test_epsilon"] = epsilon
        found["test_attacked"] = learn.adversarial_accuracy(model, *test, epsilon=epsilon, rng=rng, **_ATTACK)
        found["test_certified"] = learn.certified_accuracy_ibp(model, *test, epsilon=epsilon)
    return found
