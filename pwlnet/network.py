"""Network: a validated, frozen program with shapes, neuron names and a digest.

Legend: B rows, D inputs, O outputs, K neurons, N ops.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import evaluate
from ._types import AnyArray, ArrayLike, FloatArray, Index, Int32Array, PathLike
from .errors import InputError, ShapeError
from .kernels.ir import passes, switching
from .kernels.ir import program as ir
from .op_graph import OpGraph, make_op_graph
from .patterns import ActivationPatterns, PatternLayout, pattern_layout
from .program_check import check_program
from .scheduling import single_threaded_blas
from .validation import as_points, check_index


class Neuron(NamedTuple):
    """Location of a neuron: op index in the program, the op's name in the source, its kind, channel, row, column."""

    op: int
    name: str
    kind: str
    channel: int
    row: int
    column: int


class Network:
    """A piecewise-linear network as flat float64 arrays: immutable, and identified by its digest.

    Made by ``pwlnet.from_torch`` or ``pwlnet.load_network``. Inputs and outputs are in the order of the source.
    Neurons (inputs of switching ops; windows of MaxPool) are numbered over the whole network: ops in order, and within
    an op channel by channel and row by row, as the source flattens it.

    Attributes
    ----------
    program : Program
        The arrays; read-only.
    code : PackedProgram
        The same, packed for the kernels.
    input_shape, output_shape : tuple of int
        Without a batch axis.
    names : tuple of str
        The source's name of each op; not part of the digest.

    Raises
    ------
    InputError
        The arrays do not describe a network, hold weights that are not finite, or an op that some analysis does not handle.
    """

    program: ir.Program
    code: ir.PackedProgram
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    names: tuple[str, ...]

    def __init__(
        self,
        program: ir.Program,
        *,
        input_shape: Sequence[int],
        output_shape: Sequence[int] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        check_program(program)
        program = ir.Program(*(_frozen(a) for a in program))
        set_field, code = functools.partial(object.__setattr__, self), ir.pack_program(program)
        weights, biases = code.parameters[: program.weights.size], code.op_table[0, ir.BIAS]
        biases = code.parameters[biases : biases + program.biases.size]
        set_field("program", program._replace(weights=weights, biases=biases))  # large networks: one copy of the weights
        set_field("code", code)
        set_field("input_shape", tuple(int(n) for n in input_shape))
        set_field("output_shape", tuple(int(n) for n in (output_shape or (program.output_index.size,))))
        set_field("names", tuple(names) or tuple(f"op{i}" for i in range(len(program.op))))
        sizes = int(np.prod(self.input_shape)), int(np.prod(self.output_shape)), len(self.names)
        if sizes != (self.n_inputs, self.n_outputs, len(program.op)):
            raise InputError(
                f"input_shape is {self.input_shape}, output_shape {self.output_shape} and names has {len(self.names)} "
                f"entries, but the program has {self.n_inputs} inputs, {self.n_outputs} outputs and {len(program.op)} "
                "ops; give matching ones"
            )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Network is immutable, so {name!r} cannot be set; convert the changed source again")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Network is immutable, so {name!r} cannot be deleted; convert the changed source again")

    def __getstate__(self) -> dict[str, Any]:
        return {
            "program": self.program,
            "input_shape": self.input_shape,
            "output_shape": self.output_shape,
            "names": self.names,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Network.__init__(self, state.pop("program"), **state)

    @property
    def n_inputs(self) -> int:
        """Number of inputs, D."""
        return int(self.program.input_index.size)

    @property
    def n_outputs(self) -> int:
        """Number of outputs, O."""
        return int(self.program.output_index.size)

    @property
    def n_neurons(self) -> int:
        """Number of neurons, K."""
        return int(self.program.neuron_offsets[-1])

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the program's arrays: names, dtypes, shapes and bytes."""
        return program_digest(self.program)

    @functools.cached_property
    def float32_code(self) -> ir.PackedProgram:
        """The packed program with weights also in float32, for line kernels with slope changes in float32: PackedProgram.

        Raises
        ------
        InputError
            A weight is beyond the range of float32.
        """
        code = ir.with_float32_weights(self.code)
        if not np.isfinite(code.row_weights).all():
            largest = np.abs(self.program.weights).max()
            raise InputError(
                f"the network has weights up to {largest:.3g}, but float32 slope changes need them below 3.4e38; use float64"
            )
        return code

    @functools.cached_property
    def op_graph(self) -> OpGraph:
        """Which op reads which, and which ops have neurons: OpGraph."""
        return make_op_graph(self.program)

    @functools.cached_property
    def neuron_layers(self) -> tuple[tuple[str, int, int], ...]:
        """Name, first neuron and last-plus-one neuron of each switching op: tuple of (str, int, int)."""
        starts = self.op_graph.neuron_starts.tolist()
        return tuple((self.names[i], starts[k], starts[k + 1]) for k, i in enumerate(self.op_graph.switching.tolist()))

    @functools.cached_property
    def pattern_layout(self) -> PatternLayout:
        """Layout of packed activation patterns: PatternLayout."""
        counts = np.zeros(len(self.program.op), np.int64)
        for i in self.op_graph.switching:
            counts[i] = switching.n_states(self.code, i)
        return pattern_layout(self.program.neuron_offsets, counts)

    def as_points(self, points: ArrayLike, name: str = "X") -> FloatArray:
        """Return points as float64[B, D]; accept [B, D], [B, *input_shape], or a single point of either form."""
        return as_points(points, self.n_inputs, self.input_shape, name)

    def forward(self, X: ArrayLike, *, threads: int | None = None) -> FloatArray:
        """Evaluate the network.

        Exact up to rounding: a float64 forward pass.

        Parameters
        ----------
        X : float64[B, D] or float64[B, *input_shape]
        threads : int, optional

        Returns
        -------
        float64[B, O]

        Raises
        ------
        ShapeError
            X does not have the network's number of inputs.
        InputError
            X holds NaN, infinities or entries that are not real numbers.
        """
        return evaluate.forward(self.code, self.as_points(X), outputs=True, threads=threads).outputs

    def preactivations(self, X: ArrayLike, *, threads: int | None = None) -> FloatArray:
        """Evaluate the pre-activation of each neuron: float64[B, K]; for MaxPool windows the maximum.

        Exact up to rounding. Parameters and errors as for ``forward``.
        """
        return evaluate.forward(self.code, self.as_points(X), preactivations=True, threads=threads).preactivations

    def states(self, X: ArrayLike, *, threads: int | None = None) -> Int32Array:
        """Evaluate the state of each neuron: int32[B, K] (meaning: ActivationPatterns).

        Exact up to rounding. Parameters and errors as for ``forward``.
        """
        return evaluate.forward(self.code, self.as_points(X), states=True, threads=threads).states

    def patterns(self, X: ArrayLike, *, threads: int | None = None) -> ActivationPatterns:
        """Evaluate the activation patterns at points: ActivationPatterns of B rows.

        Exact up to rounding. Parameters and errors as for ``forward``.
        """
        layout = self.pattern_layout
        return ActivationPatterns(evaluate.forward(self.code, self.as_points(X), layout=layout, threads=threads).packed, layout)

    def jacobian(self, X: ArrayLike, *, threads: int | None = None) -> FloatArray:
        """Evaluate the Jacobian of the affine piece at each point: float64[B, O, D].

        Exact up to rounding. On a boundary between pieces, the piece is that of ``states``. Parameters and errors as for
        ``forward``.
        """
        return evaluate.jacobians(self.code, self.states(X, threads=threads), threads)

    def affine_map(self, x: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Compute the affine map of the piece at one point.

        Exact up to rounding.

        Parameters
        ----------
        x : float64[D] or float64[*input_shape]

        Returns
        -------
        A : float64[O, D]
        c : float64[O]
            ``forward(x) = A @ x + c``, for all points with the same activation pattern.

        Raises
        ------
        ShapeError, InputError
            As for ``forward``; also for more than one point.
        """
        rows = self.as_points(x, "x")
        if rows.shape[0] != 1:
            raise ShapeError(f"x has {rows.shape[0]} rows; affine_map takes one point, use jacobian for many")
        states = self.states(rows)
        c = np.empty(self.n_outputs)
        with single_threaded_blas():
            passes.values_of_states(self.code, states[0], np.zeros(self.n_inputs), c)
        return evaluate.jacobians(self.code, states)[0], c

    def neuron(self, k: Index) -> Neuron:
        """Return the location of neuron ``k``: a Neuron with op, name, kind, channel, row and column.

        Raises
        ------
        InputError
            There is no such neuron.
        """
        if not self.n_neurons:
            raise InputError(f"k is {k!r}, but the network has no neurons")
        k = check_index(k, "k", self.n_neurons, "neurons")
        i = int(self.op_graph.op_of(k))
        _, height, width = (int(n) for n in self.program.shapes[i])
        channel, position = divmod(k - int(self.program.neuron_offsets[i]), height * width)
        row, column = divmod(position, width)
        return Neuron(i, self.names[i], ir.OP_NAMES[self.program.op[i]], channel, row, column)

    def summary(self) -> str:
        """Return a table of the ops as text: name, kind, shape, neurons, weights."""
        p = self.program
        lines = [f"{'op':>3}  {'name':<28} {'kind':<10} {'shape':<16} {'neurons':>9} {'weights':>10}"]
        for i in range(len(p.op)):
            shape = "x".join(str(n) for n in p.shapes[i])
            neurons = p.neuron_offsets[i + 1] - p.neuron_offsets[i]
            weights = p.weight_offsets[i + 1] - p.weight_offsets[i] + p.bias_offsets[i + 1] - p.bias_offsets[i]
            lines.append(f"{i:>3}  {self.names[i][:28]:<28} {ir.OP_NAMES[p.op[i]]:<10} {shape:<16} {neurons:>9} {weights:>10}")
        total = p.weights.size + p.biases.size
        lines.append(f"{self.n_inputs} inputs, {self.n_outputs} outputs, {self.n_neurons} neurons, {total} weights")
        return "\n".join(lines)

    def save(self, path: PathLike) -> None:
        """Write the network to an HDF5 file in pwlnet's format; ``pwlnet.load_network`` reads it back bit for bit.

        Raises
        ------
        StoreError
            The file exists or cannot be written.
        """
        from .store.network_file import save_network

        save_network(path, self)

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Network) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Network({self.input_shape} -> {self.output_shape}, {self.n_neurons} neurons, digest {self.digest[:12]})"


def program_digest(program: ir.Program) -> str:
    """Compute the SHA-256 (hex) of the name, dtype, shape and little-endian bytes of each array of a program."""
    sha = hashlib.sha256()
    for name, array in zip(program._fields, program, strict=True):
        sha.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        sha.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


def _frozen(array: AnyArray) -> AnyArray:
    """Return a read-only copy of an array, or the array itself if it is read-only and its own memory."""
    if type(array) is np.ndarray and not array.flags.writeable and array.flags.c_contiguous and array.base is None:
        return array
    array = np.array(array, order="C", copy=True)
    array.setflags(write=False)
    return array
