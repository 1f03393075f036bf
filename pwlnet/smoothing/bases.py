"""What is smoothed: classifiers of noisy points, made of a Network or of a torch module.

A vote is the class of the largest score of one noisy point; of several largest scores, the lowest class. A point with a score
that is NaN votes for no class.

Legend: n votes, S shape of an input, O classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import FloatArray, IntArray
from ..errors import InputError, PwlnetError, ShapeError
from ..network import Network
from ..validation import check_choice
from ..value_buffers import DTYPES

if TYPE_CHECKING:
    import torch

    from .noise import Query

NO_CLASS = -1


class BaseClassifier:
    """A classifier of noisy points. Subclasses compute scores.

    Attributes
    ----------
    guarantee : {"sound", "conditional", "nominal"}
        What a certificate of the smoothed classifier says about the deployed classifier.
    dtype : str
        Floating-point type of the scores.
    input_shape : tuple of int or None
        Shape of one input, if it is known.
    network : Network or None
        The network that the scores are computed from, if it is one.
    threads : int or None
        For noise, and for the scores of a network; None: all processors.
    batch_bytes : int
        Size of the noisy points of a batch, in float64, by default. Larger ones leave the caches of a processor: twice
        as slow with convolutions.
    n_scores : int or None
        Number of scores, after the first votes.
    needs_reference : bool
        Whether predictions need the stored point of a frozen centre.
    plan_type : type or None
        How images are certified, if not by the votes alone: a class like CertificationPlan.
    """

    guarantee: str = "sound"
    dtype: str = "float32"
    input_shape: tuple[int, ...] | None = None
    network: Network | None = None
    threads: int | None = None
    batch_bytes: int = 2**21
    needs_reference: bool = False
    n_scores: int | None = None
    plan_type: Any = None

    def scores(self, query: Query) -> FloatArray:
        """Compute the scores of the noisy points of a Query: float64[n, O]."""
        return self.scores_of(query.points(threads=self.threads))

    def scores_of(self, points: FloatArray) -> FloatArray:
        """Compute the scores of noisy points, if these determine them: float64[n, *S] -> float64[n, O]."""
        return self.scores_at(points)

    def scores_at(self, points: FloatArray, references: FloatArray | None = None, **options: Any) -> FloatArray:
        """Compute scores at points, as float neurons or factors make them: float64[n, *S] -> float64[n, O]."""
        raise NotImplementedError

    def torch_scores_at(self, points: torch.Tensor, references: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
        """Compute the same with gradients: tensor [n, *S] -> tensor [n, O]."""
        raise NotImplementedError

    def torch_scores(self, points: torch.Tensor, query: Query, centers: torch.Tensor | None = None) -> torch.Tensor:
        """Compute scores with gradients: tensor [n, *S] of noisy points -> tensor [n, O].

        Parameters
        ----------
        points : tensor [n, *S]
            ``center + sigma * noise``, in the order of the query.
        query : Query
            Whose draws they are; its center is not used.
        centers : tensor [1, *S], optional
            The image that is classified; ``query.center`` by default.
        """
        return self.torch_scores_at(points)

    def classes(self, query: Query) -> IntArray:
        """Return the votes: int64[n], ``NO_CLASS`` where a score is NaN."""
        scores = self.scores(query)
        self.n_scores = scores.shape[1]
        return votes_of(scores)

    def classes_of(self, queries: Sequence[Query]) -> list[IntArray]:
        """Return the votes of several queries, evaluated together where scores depend on the noisy points only: list."""
        if type(self).scores is not BaseClassifier.scores or len(queries) < 2:
            return [self.classes(query) for query in queries]
        scores = self.scores_of(np.concatenate([query.points(threads=self.threads) for query in queries]))
        self.n_scores = scores.shape[1]
        return np.split(votes_of(scores), np.cumsum([query.last - query.first for query in queries])[:-1])

    def settings(self) -> dict[str, Any]:
        """Return what identifies the classifier in logs and stores: dict of numbers and texts."""
        return {"guarantee": self.guarantee, "dtype": self.dtype}


def digest_of(*arrays):
    """Return a short digest of arrays, which identifies them in settings: 16 hexadecimal digits."""
    sha = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        sha.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    return sha.hexdigest()[:16]


def votes_of(scores):
    """Return the class with the largest score of each row, ``NO_CLASS`` for rows with NaN: int64[n]."""
    votes = scores.argmax(axis=1).astype(np.int64)
    votes[np.isnan(scores).any(axis=1)] = NO_CLASS
    return votes


class NetworkBase(BaseClassifier):
    """A Network; scores are computed by pwlnet's own kernels, and depend neither on batches nor on threads."""

    network: Network
    _module: Any

    def __init__(self, network: Network, *, dtype: str = "float32", threads: int | None = None) -> None:
        self.network, self.input_shape = network, tuple(network.input_shape)
        self.dtype, self.threads = check_choice(dtype, DTYPES, "dtype"), threads
        self._module = None

    def __repr__(self) -> str:
        return f"NetworkBase({self.network!r}, {self.dtype})"

    @property
    def module(self) -> torch.nn.Module:
        """The network as a torch module in float64, for gradients."""
        from .torch_network import TorchNetwork

        if self._module is None:
            self._module = TorchNetwork(self.network).double().eval()
        return self._module

    def scores_at(self, points: FloatArray, references: FloatArray | None = None, **options: Any) -> FloatArray:
        """Compute scores at points: float64[n, *S] -> float64[n, O], with the options of ``repressed_outputs``."""
        from .network_pass import repressed_outputs

        points = points.reshape(len(points), -1)
        references = None if references is None else references.reshape(len(references), -1)
        return repressed_outputs(self.network, points, references, dtype=self.dtype, threads=self.threads, **options)

    def torch_scores_at(self, points: torch.Tensor, references: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
        """Compute scores at points with gradients: tensor [n, *S] -> tensor [n, O]."""
        from .module_pass import repressed_scores

        if "factors" in options:
            options = {**options, "factors": self._by_op(options["factors"])}
        return repressed_scores(self.module, points, references, **options)

    def _by_op(self, factors):
        """Split factors float64[K] or [n, K] by switching op: list of tensors [C, H, W] or [n, C, H, W]."""
        import torch

        graph, shapes = self.network.op_graph, self.network.program.shapes
        bounds = zip(graph.switching, graph.neuron_starts, graph.neuron_starts[1:], strict=False)
        return [torch.from_numpy(factors[..., a:b].reshape(*factors.shape[:-1], *shapes[i])) for i, a, b in bounds]

    def settings(self) -> dict[str, Any]:
        """Return what identifies the classifier in logs and stores."""
        return {**super().settings(), "network": self.network.digest}


class ModuleBase(BaseClassifier):
    """A torch module, evaluated in its own type of weights on its own device, in evaluation mode, without autocast.

    The noise does not depend on batches, threads or the device; scores have the rounding of torch, which does.
    """

    def __init__(
        self, module: torch.nn.Module, *, input_shape: Sequence[int] | None = None, threads: int | None = None
    ) -> None:
        from ..learn import classifiers

        self.module, self.input_shape = module, None if input_shape is None else tuple(input_shape)
        self.threads = threads
        self.device, dtype = classifiers.placement(module)
        self.dtype = str(dtype).removeprefix("torch.")
        if self.device.type != "cpu":
            self.batch_bytes = 2**28
        if self.dtype not in DTYPES:
            raise InputError(
                f"the module has weights of type {self.dtype}, whose rounding is comparable to differences of scores; "
                "convert it by module.float()"
            )

    def __repr__(self) -> str:
        return f"ModuleBase({type(self.module).__name__}, {self.dtype}, {self.device})"

    def _tensor(self, points):
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(points)) if isinstance(points, np.ndarray) else points
        shape = tensor.shape[1:] if self.input_shape is None else self.input_shape
        return tensor.reshape(len(tensor), *shape).to(device=self.device, dtype=torch_dtype(self.dtype))

    def scores_at(self, points: FloatArray, references: FloatArray | None = None, **options: Any) -> FloatArray:
        """Compute scores at points: float64[n, *S] -> float64[n, O], with the options of ``repressed_scores``."""
        import torch

        try:
            with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
                scores = self.torch_scores_at(points, references, **options)
        except (PwlnetError, torch.cuda.OutOfMemoryError):
            raise
        except (RuntimeError, IndexError) as error:
            raise ShapeError(
                f"the module fails for points of shape {tuple(points.shape)} ({str(error).splitlines()[0]}); give images in "
                "the shape that it takes, or input_shape"
            ) from error
        if scores.ndim != 2 or len(scores) != len(points):
            raise ShapeError(
                f"the model gives shape {tuple(scores.shape)} for {len(points)} points, but (points, classes) is needed; "
                "give a classifier"
            )
        return scores.cpu().numpy().astype(np.float64)

    def settings(self) -> dict[str, Any]:
        """Return what identifies the classifier in logs and stores."""
        arrays = [tensor.detach().cpu().numpy() for tensor in self.module.state_dict().values()]
        return {**super().settings(), "module": type(self.module).__name__, "weights": digest_of(*arrays)}

    def torch_scores_at(self, points: Any, references: Any = None, **options: Any) -> torch.Tensor:
        """Compute scores at points with gradients: [n, *S] -> tensor [n, O]."""
        from ..learn import classifiers

        points = self._tensor(points)
        references = None if references is None else self._tensor(references)
        if references is None and not options:
            with classifiers.evaluating(self.module):
                return self.module(points)
        from .module_pass import repressed_scores

        return repressed_scores(self.module, points, references, **options)


class DerivedClassifier(BaseClassifier):
    """A classifier that is made of a NetworkBase or ModuleBase: what it has in common with it."""

    def __init__(self, base: BaseClassifier) -> None:
        self.base, self.network, self.dtype, self.input_shape = base, base.network, base.dtype, base.input_shape
        self.threads, self.batch_bytes = base.threads, base.batch_bytes

    @property
    def module(self) -> torch.nn.Module:
        """The torch module of the classifier that it is made of."""
        return self.base.module  # type: ignore[attr-defined]  # all but BaseClassifier have one


def torch_dtype(name):
    """Return the torch type of a name."""
    import torch

    return {"float32": torch.float32, "float64": torch.float64}[name]


def as_base(base, *, input_shape=None, dtype=None, threads=None):
    """Return a classifier of noisy points of a Network, a torch module or a BaseClassifier.

    Raises
    ------
    InputError
        It is none of these, or an option does not apply to it.
    """
    if isinstance(base, BaseClassifier):
        if dtype is not None and dtype != base.dtype:
            raise InputError(f"dtype is {dtype!r}, but the classifier was made with {base.dtype!r}; make it with the other one")
        if threads is not None and threads != base.threads:
            raise InputError(f"threads is {threads!r}, but the classifier was made with {base.threads!r}; give it there")
        return base
    if isinstance(base, Network):
        return NetworkBase(base, dtype="float32" if dtype is None else dtype, threads=threads)
    import torch

    if not isinstance(base, torch.nn.Module):
        raise InputError(
            f"base is a {type(base).__name__}; give a pwlnet.Network, a torch.nn.Module, or the result of repress_float_paths"
        )
    if dtype is not None:
        raise InputError("dtype is given, but a torch module is evaluated in the type of its weights; convert the module")
    return ModuleBase(base, input_shape=input_shape, threads=threads)
