"""An ONNX node as seen by handlers: inputs resolved, attributes with their defaults, constants in float64.

Every float of the file, of any width, is stored as float64, which represents float16, bfloat16 and float32 exactly.
Constants are therefore folded in float64, without the intermediate rounding of the source.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..._optional import require
from ...errors import ConversionError, InputError
from ..graph import Tensor, refuse
from ..piecewise import is_activation

STANDARD_DOMAINS = ("", "ai.onnx")


def onnx_module(name=""):
    """Return ``onnx``, or a module of it such as ``onnx_module("reference")``."""
    return require(f"onnx.{name}" if name else "onnx", "onnx", "reading ONNX files")


def float_types():
    """Return the element types that are read as float64."""
    types = onnx_module().TensorProto
    return types.FLOAT, types.DOUBLE, types.FLOAT16, types.BFLOAT16


def node_name(proto):
    """Return the name of a node for errors and neurons: its name, or else that of its first output that has one."""
    return proto.name or next(filter(None, proto.output), proto.op_type)


@dataclass(frozen=True)
class OnnxNode:
    """A node with its inputs: a graph tensor, a NumPy constant, or None where an optional input is absent."""

    proto: object
    opset: int
    inputs: tuple

    @property
    def name(self):
        """The node's name in errors and of its neurons."""
        return node_name(self.proto)

    @property
    def op(self):
        """The operator's type: ``Gemm``."""
        return self.proto.op_type

    def refuse(self, reason=None):
        """Raise the error for nodes that cannot be converted exactly."""
        refuse(self.name, self.op, reason)

    def get(self, position):
        """Return input number ``position``, None where it is absent."""
        return self.inputs[position] if position < len(self.inputs) else None

    def with_inputs(self, inputs):
        """Return the node with other inputs."""
        return replace(self, inputs=tuple(inputs))

    def attribute(self, key, default=None):
        """Return an attribute: as given in the file, else its default in this opset, else ``default``."""
        helper = onnx_module("helper")
        for given in self.proto.attribute:
            if given.name == key:
                return _text(helper.get_attribute_value(given))
        schema = onnx_module("defs").get_schema(self.op, self.opset, "")
        declared = schema.attributes.get(key)
        if declared is None or not declared.default_value.type:
            return default
        return _text(helper.get_attribute_value(declared.default_value))

    def tensor(self, position, what="input"):
        """Return an input that must depend on the network's input."""
        value = self.get(position)
        if not isinstance(value, Tensor):
            self.refuse(f"whose {what} is constant while another input depends on the network's input")
        return value

    def constant(self, position, what):
        """Return an input that must be constant, or None where it is absent."""
        value = self.get(position)
        if is_activation(value):
            self.refuse(f"whose {what} depends on the network's input")
        return value

    def weight(self, position, what):
        """Return an input that must be constant, finite and present, as float64."""
        value = self.constant(position, what)
        if value is None:
            raise ConversionError(f"node {self.name!r} is {self.op} without {what}; check that the file is complete")
        value = np.asarray(value, np.float64)
        if not np.isfinite(value).all():
            given = self.proto.input[position]
            raise InputError(
                f"constant {given!r} of node {self.name!r} has {int((~np.isfinite(value)).sum())} entries that are not "
                "finite; a network needs finite weights, check how it was trained or saved"
            )
        return value

    def optional_weight(self, position, what):
        """Return like ``weight``, but None where the input is absent."""
        return None if self.get(position) is None else self.weight(position, what)

    def evaluate(self, values):
        """Evaluate the node on arrays; see `constants`.

        Parameters
        ----------
        values : sequence of ndarray or None
            One per input of the node.

        Returns
        -------
        list of ndarray
            One per output of the node.
        """
        from .constants import evaluate

        return evaluate(self, values)

    def evaluator(self):
        """Return a function like ``evaluate`` for many calls: ONNX's reference implementation, prepared once."""
        onnx = onnx_module()
        helper, reference = onnx_module("helper"), onnx_module("reference")
        outputs = [name for name in self.proto.output if name]

        def describe(names):
            return [helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None) for name in names]

        inputs = [name for name in dict.fromkeys(self.proto.input) if name]
        graph = helper.make_graph([self.proto], "node", describe(inputs), describe(outputs))
        model, made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)]), []

        def evaluate(values):
            feeds = {name: value for name, value in zip(self.proto.input, values) if name}
            try:
                made[:] = made or [reference.ReferenceEvaluator(model)]
                with np.errstate(all="ignore"):
                    return [np.asarray(value) for value in made[0].run(None, feeds)]
            except Exception as error:
                shapes = [None if value is None else np.shape(value) for value in values]
                reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
                raise ConversionError(
                    f"node {self.name!r} is {self.op} and can't be evaluated for inputs of shapes {shapes} ({reason}); "
                    "check input_shape, or that the file is not damaged"
                ) from error

        return evaluate


def _text(value):
    """Decode a string, which ONNX stores as bytes."""
    return value.decode() if isinstance(value, bytes) else value
