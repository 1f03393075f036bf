"""Models and images for attacks and accuracies: evaluation mode, dtype, device, scores; also of a pwlnet.Network.

Legend: B images, S shape of an image, D its size, O classes.
"""

import contextlib

import numpy as np
import torch

from ..errors import InputError, NumericalError, ShapeError
from ..network import Network
from ..validation import as_array, refuse_not_finite


class NetworkFunction(torch.autograd.Function):
    """A Network as a torch function with first derivatives."""

    @staticmethod
    def forward(ctx, x, network):
        """Evaluate: float64[B, *S] -> float64[B, O]."""
        points = x.detach().numpy().reshape(len(x), -1)
        ctx.network, ctx.points, ctx.shape = network, points, x.shape
        return torch.from_numpy(network.forward(points))

    @staticmethod
    def backward(ctx, gradient):
        """Multiply by the Jacobian of the affine piece at each point."""
        jacobian = ctx.network.jacobian(ctx.points)
        product = np.einsum("bo,bod->bd", gradient.numpy(), jacobian)
        return torch.from_numpy(product).reshape(ctx.shape), None


class NetworkModule(torch.nn.Module):
    """A Network as a torch module in float64, without parameters."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        """Evaluate: float64[B, *S] -> float64[B, O]."""
        return NetworkFunction.apply(x, self.network)


def as_module(model, name="model"):
    """Return a module, or a Network as a torch module. Raises InputError for anything else."""
    if isinstance(model, Network):
        return NetworkModule(model)
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"{name} is a {type(model).__name__}; give a torch.nn.Module or a pwlnet.Network")
    return model


def placement(module):
    """Return the device and floating-point dtype of a module's weights; the CPU and float64 if it has none."""
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float64


@contextlib.contextmanager
def evaluating(module):
    """Set evaluation mode within the context, and restore the mode of each submodule afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def to_numpy(array, name):
    """Convert an array, a list or a tensor to a NumPy array of real numbers."""
    array = as_array(array, name)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} has dtype {array.dtype}; real numbers are needed, convert it to float64")
    return array


def check_images(images, name="images"):
    """Validate images, and convert them to float64[B, *S]: not empty, without NaN and infinities."""
    array = to_numpy(images, name).astype(np.float64)
    if array.ndim < 2 or len(array) == 0:
        raise ShapeError(f"{name} has shape {array.shape}; give one row per image, (B, ...) with B at least 1")
    refuse_not_finite(array, name)
    return array


def check_labels(labels, n_images, name="labels"):
    """Validate labels, and convert them to int64[B]: integers, one for each image."""
    array = to_numpy(labels, name)
    if array.shape != (n_images,):
        raise ShapeError(f"{name} has shape {array.shape}, but there are {n_images} images; give one class per image")
    if array.dtype.kind not in "iu":
        raise InputError(f"{name} has dtype {array.dtype}; class indices are needed, convert it to int64")
    return array.astype(np.int64)


def check_classes(logits, labels, name="labels"):
    """Validate that scores have shape [B, O], and that labels are among the O classes."""
    if logits.ndim != 2 or len(logits) != len(labels):
        raise ShapeError(
            f"the model gives shape {tuple(logits.shape)} for {len(labels)} images, but (B, classes) is needed; "
            "give a classifier"
        )
    wrong = labels[(labels < 0) | (labels >= logits.shape[1])]
    if len(wrong):
        raise InputError(f"{name} has class {int(wrong[0])}, but the model has classes 0 to {logits.shape[1] - 1}")


def check_finite(values, what):
    """Validate that a model computed no NaN or infinities."""
    if not bool(torch.isfinite(values).all()):
        raise NumericalError(f"{what} is not finite; check the model's weights and the range of the images")


def check_clip(clip, images, name="images"):
    """Return the box (lower, upper) of the images as arrays of the shape of an image, or None if there is none."""
    if clip is None:
        return None
    try:
        lower, upper = clip
        lower, upper = (np.broadcast_to(np.asarray(c, np.float64), images.shape[1:]) for c in (lower, upper))
    except (TypeError, ValueError):
        raise InputError(
            f"clip is {clip!r}; give (lower, upper), two numbers or two arrays that fit shape {images.shape[1:]}, or None"
        ) from None
    outside = np.flatnonzero(((images < lower) | (images > upper)).reshape(len(images), -1).any(axis=1))
    if outside.size:
        raise InputError(
            f"{name} has {outside.size} rows outside clip, the first is row {outside[0]} with values from "
            f"{images[outside[0]].min():g} to {images[outside[0]].max():g}; scale the images, or give their range as clip"
        )
    return lower, upper
