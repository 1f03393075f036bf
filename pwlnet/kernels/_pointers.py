"""Pass a NamedTuple of arrays from kernel to kernel as one pointer to the addresses and shapes of its arrays.

By value, a NamedTuple of arrays is seven machine words or more for each of them, which Numba copies wherever a field is named:
most of what a kernel costs to compile. ``borrow(named)`` writes the arrays' addresses and shapes to the caller's stack frame,
and kernels receive a pointer to it. A field is loaded once, at the start of the function that names it.
"""

import hashlib

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, register_model

_NAMED = types.NamedTuple | types.NamedUniTuple
_WORD, _POINTER = ir.IntType(64), ir.IntType(8).as_pointer()


class Pointed(types.Type):
    """A pointer to the addresses and shapes of the arrays of a NamedTuple; its fields may be such NamedTuples, too."""

    def __init__(self, named):
        self.named = named
        digest = hashlib.sha256(str(named).encode()).hexdigest()[:12]
        super().__init__(f"Pointed{named.instance_class.__name__}{digest}")

    @property
    def n_words(self):
        """Number of words at the pointer."""
        return sum(map(_n_words, self.named.types))

    def field(self, name):
        """Return the type of a field, and the index of its first word."""
        k = self.named.fields.index(name)
        kind = self.named.types[k]
        return Pointed(kind) if isinstance(kind, _NAMED) else kind, sum(map(_n_words, self.named.types[:k]))


def _n_words(kind):
    """Number of words of an array or of a NamedTuple of arrays."""
    return sum(map(_n_words, kind.types)) if isinstance(kind, _NAMED) else 1 + kind.ndim


@register_model(Pointed)
class _PointedModel(models.PrimitiveModel):
    def __init__(self, manager, pointed):
        super().__init__(manager, pointed, _POINTER)


def without_owner(array):
    """Return the type of a borrowed array; whether it is read-only makes no difference to kernels."""
    return array.copy(readonly=False)


def pointed_type(named):
    """Return the type of a pointer to a NamedTuple, or None where that does not have C-contiguous arrays only."""
    kind = _named_type(named) if isinstance(named, _NAMED) else None
    return Pointed(kind) if kind is not None else None


def _named_type(kind):
    """Return the type of a NamedTuple of borrowed arrays, and of such NamedTuples; None where it has anything else."""
    if isinstance(kind, types.Array):
        return without_owner(kind) if kind.layout == "C" else None
    fields = [_named_type(x) for x in kind.types] if isinstance(kind, _NAMED) else [None]
    return None if None in fields else types.NamedTuple(fields, kind.instance_class)


@intrinsic
def borrow(typing_context, value):
    """Return an array without its reference count, a NamedTuple of arrays as a pointer, and anything else as it is.

    Every view that a kernel takes of a counted array costs two atomic operations.
    """
    pointed = pointed_type(value)
    if pointed is not None:
        return pointed(value), _write_words
    if isinstance(value, types.Array):
        return without_owner(value)(value), _drop_owner
    return value(value), lambda context, builder, signature, arguments: arguments[0]


def _drop_owner(context, builder, signature, arguments):
    header = context.make_array(signature.args[0])(context, builder, arguments[0])
    header.meminfo = cgutils.get_null_value(header.meminfo.type)
    header.parent = cgutils.get_null_value(header.parent.type)
    return header._getvalue()


def _write_words(context, builder, signature, arguments):
    named = signature.args[0]
    words = cgutils.alloca_once(builder, ir.ArrayType(_WORD, signature.return_type.n_words))
    for k, word in enumerate(_words(context, builder, named, arguments[0])):
        builder.store(word, builder.bitcast(cgutils.gep_inbounds(builder, words, 0, k), word.type.as_pointer()))
    return builder.bitcast(words, _POINTER)


def _words(context, builder, kind, value):
    """List the addresses and shapes of an array or of a NamedTuple of arrays."""
    if isinstance(kind, _NAMED):
        fields = zip(kind.types, cgutils.unpack_tuple(builder, value, len(kind.types)), strict=True)
        return [word for field in fields for word in _words(context, builder, *field)]
    array = context.make_array(kind)(context, builder, value)
    return [array.data, *cgutils.unpack_tuple(builder, array.shape, kind.ndim)]


@infer_getattr
class _PointedAttribute(AttributeTemplate):
    key = Pointed

    def generic_resolve(self, pointed, attribute):
        return pointed.field(attribute)[0] if attribute in pointed.named.fields else None


def mark_arguments(function, description):
    """Tell LLVM what is known of a function's pointers, and remember their types; called when a function is begun."""
    kinds = {f"arg.{name}": kind for name, kind in zip(description.args, description.argtypes, strict=True)}
    for argument in function.args:
        kind = kinds.get(argument.name)
        if isinstance(kind, Pointed):
            argument.pointed = kind
            argument.attributes.dereferenceable = 8 * kind.n_words
            argument.attributes.align = 8
            for name in ("noalias", "nonnull"):
                argument.add_attribute(name)


@lower_getattr_generic(Pointed)
def _get_field(context, builder, pointed, value, attribute):
    """Load a field: once per function where the pointer is one of its arguments."""
    function = builder.function
    arguments = [x for x in function.args if getattr(x, "pointed", None) == pointed]
    if len(arguments) != 1:
        return _load_field(context, builder, pointed, value, attribute)
    known = function.__dict__.setdefault("pointed_fields", {})
    if (pointed, attribute) not in known:
        with builder.goto_entry_block():
            known[pointed, attribute] = _load_field(context, builder, pointed, arguments[0], attribute)
    return known[pointed, attribute]


def _load_field(context, builder, pointed, pointer, attribute):
    """Make the array of a field from its words; of a NamedTuple, the pointer to them."""
    kind, first = pointed.field(attribute)
    cells = builder.bitcast(pointer, _WORD.as_pointer())
    if isinstance(kind, Pointed):
        return builder.bitcast(builder.gep(cells, [ir.IntType(32)(first)], inbounds=True), _POINTER)
    layout, model = context.get_value_type(kind), context.data_model_manager[kind]

    def load(k, expected):
        cell = builder.gep(cells, [ir.IntType(32)(first + k)], inbounds=True)
        return builder.load(builder.bitcast(cell, expected.as_pointer()))

    data = load(0, layout.elements[model.get_field_position("data")])
    shape = [load(1 + k, _WORD) for k in range(kind.ndim)]
    itemsize = _WORD(context.get_abi_sizeof(context.get_data_type(kind.dtype)))
    strides, n_items = [itemsize], shape[0]
    for n in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], n, flags=["nsw"]))
        n_items = builder.mul(n_items, n, flags=["nsw"])
    fields = {"nitems": n_items, "itemsize": itemsize, "data": data}
    fields |= {"shape": cgutils.pack_array(builder, shape), "strides": cgutils.pack_array(builder, strides)}
    array = ir.Constant(layout, None)  # no owner
    for name, x in fields.items():
        array = builder.insert_value(array, x, model.get_field_position(name))
    return array
