"""Interception of the switching functions of torch in any module, in the order of the calls.

``SwitchingMode`` is a mode of torch (``torch.overrides.TorchFunctionMode``): every function of torch that is called inside it
passes through it, from modules, from functionals or from methods of tensors. It follows which tensors depend on the points, so
that a function that is not piecewise linear in them is refused by its name, while computations with weights alone are free.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from ..errors import InputError, UnsupportedOperationError
from .switching_statuses import STATUSES, differ, statuses_of, takes_whole_tensor

AFFINE, SCORES, INDEX = 1, 2, 3  # a tensor is piecewise linear in the points, or a softmax of that, or not a floating one

_LINEAR_NAMES = """
    add sub subtract rsub radd neg negative positive pos sum mean cumsum diff cat concat concatenate stack hstack vstack dstack
    column_stack flatten unflatten ravel view view_as reshape reshape_as permute transpose movedim moveaxis swapaxes swapdims
    t T mT H mH data real squeeze unsqueeze expand expand_as broadcast_to broadcast_tensors repeat repeat_interleave tile roll
    flip fliplr flipud rot90 contiguous clone detach to type type_as float double half bfloat16 cpu cuda iter getitem setitem
    select narrow split split_with_sizes chunk unbind tensor_split hsplit vsplit dsplit index_select gather take take_along_dim
    pad constant_pad_nd pixel_shuffle pixel_unshuffle channel_shuffle interpolate upsample upsample_nearest upsample_bilinear
    avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d unfold fold trace tril triu
    diagonal diag diag_embed masked_fill where index_add scatter_add copy fill zero as_strided atleast_1d atleast_2d atleast_3d
"""
_PRODUCT_NAMES = """
    mul multiply matmul rmatmul mm bmm mv dot inner outer einsum tensordot kron linear bilinear conv1d conv2d conv3d
    conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc addmm addmv baddbmm addbmm addcmul addr
"""
_QUERY_NAMES = """
    property size dim ndimension numel nelement stride storage_offset is_contiguous is_floating_point is_complex get_device
    element_size __len__ __hash__ __repr__ __format__ __str__ data_ptr requires_grad_ retain_grad register_hook zeros_like
    ones_like empty_like full_like new_zeros new_ones new_empty new_full is_pinned is_inference is_same_size untyped_storage
"""
_RANDOM_NAMES = """
    rand randn randint randperm normal bernoulli multinomial poisson rand_like randn_like randint_like uniform exponential
    random cauchy log_normal geometric
"""
_LINEAR, _PRODUCTS, _QUERIES, _RANDOM = (
    frozenset(names.split()) for names in (_LINEAR_NAMES, _PRODUCT_NAMES, _QUERY_NAMES, _RANDOM_NAMES)
)
_DIVISIONS = ("div", "divide", "true_divide", "truediv")
_TRAINED = {  # functions that differ in training: position and names of the flag
    "batch_norm": (5, "training"),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"), (2, "training", "train")),
    **dict.fromkeys(("feature_dropout", "feature_alpha_dropout"), (2, "training", "train")),
    "rrelu": (3, "training"),
}
_SOFTMAX = {"softmax", "log_softmax"}
_BINARY = {"max", "min", "maximum", "minimum"}
_SETTERS = {"requires_grad"}  # properties that may be set


class SwitchingCall:
    """One call of a switching function.

    Attributes
    ----------
    number : int
        Of the call in the pass, from 0.
    name : str
        Of the function: "relu", "max_pool2d", ...
    output : tensor
        Its unchanged result.
    """

    def __init__(self, number, name, output, args, kwargs):
        self.number, self.name, self.output = number, name, output
        self._args, self._kwargs = args, kwargs

    @property
    def input(self):
        """The first input, before the call."""
        return self._args[0] if self._args else self._kwargs["input"]

    def statuses(self):
        """Compute the statuses of the output's entries: see ``switching_statuses``."""
        return statuses_of(self.name, self.output, self._args, self._kwargs)


class SwitchingMode(TorchFunctionMode):
    """A mode in which switching functions of torch are seen, and may be changed; the base class changes nothing.

    Use as a context, ``with SwitchingMode(points) as mode: output = module(points)``, then ``mode.check_output(output)``.

    Parameters
    ----------
    points : tensor [B, *S]
        The tensor that is given to the module. Functions of other tensors, such as weights, are not examined.
    training : bool, optional
        Accept functions that are random or use statistics of the batch: dropout, batch normalisation in training mode. By
        default, they are refused: the rows of a batch would not be independent.

    Notes
    -----
    Accepted are switching functions with finitely many affine pieces (``switching_statuses.STATUSES``), affine functions,
    and functions of shape and layout. softmax and log_softmax are accepted where no switching function and no product of two
    tensors uses their result, so where it can only be a score. Everything else raises UnsupportedOperationError with its
    name. Scripted modules do not pass through modes of torch, and are refused by ``check_module``.
    """

    def __init__(self, points, *, training=False):
        super().__init__()
        self.training = training
        self.n_calls = 0
        self._levels = WeakTensorKeyDictionary()
        self._levels[points] = AFFINE

    def switch(self, call):
        """Return what replaces the output of a SwitchingCall; of the same shape."""
        return call.output

    def check_output(self, output):
        """Validate what the module returned: a tensor that depends on the points.

        Raises
        ------
        UnsupportedOperationError
            It is not a tensor, or was not computed by functions that pass through this mode.
        """
        if not isinstance(output, torch.Tensor):
            raise UnsupportedOperationError(f"the module returns a {type(output).__name__}; give one that returns a tensor")
        if self._levels.get(output) not in (AFFINE, SCORES):
            raise UnsupportedOperationError(
                "the module's output does not come from its input by functions of torch that can be followed; give a module "
                "without compiled or scripted parts and without functions outside of torch"
            )

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Handle one call of a function of torch."""
        kwargs = kwargs or {}
        name, in_place = _describe(func, kwargs)
        used = list(self._find_levels((args, kwargs)))
        if not used:
            if name in _RANDOM:
                self._refuse_random(name)
            return func(*args, **kwargs)
        if name in _QUERIES:
            return func(*args, **kwargs)
        level = max(used)
        _check_level(name, level)
        if kwargs.get("out") is not None:
            raise UnsupportedOperationError(f"the module calls {name} with out=; use its result instead")
        if name in _TRAINED:
            self._check_training(name, args, kwargs)
        if name in STATUSES:
            result = self._handle_switch(func, name, in_place, args, kwargs)
        else:
            _check_function(name, used, args, kwargs, self._find_levels)
            result = func(*args, **kwargs)
        self._mark(result, SCORES if name in _SOFTMAX else level)
        if in_place:
            self._mark(args[:1], level)
        return result

    def _handle_switch(self, func, name, in_place, args, kwargs):
        """Call a switching function, and replace its output by that of ``switch``."""
        others = {key: value for key, value in kwargs.items() if key != "input"}
        if name not in _BINARY and any(self._find_levels((args[1:], others))):
            raise UnsupportedOperationError(f"the module calls {name} with thresholds that depend on its input; use constants")
        if takes_whole_tensor(name, args, kwargs):
            raise UnsupportedOperationError(
                f"the module calls {name} of a whole tensor, which depends on all rows; give it an axis"
            )
        target = args[0] if args else kwargs.get("input")
        if in_place:
            args = (target.clone(), *args[1:])
            kwargs = {key: value for key, value in kwargs.items() if key not in ("input", "inplace")}
            func = _OUT_OF_PLACE.get(func, func)
        result = func(*args, **kwargs)
        output = result if isinstance(result, torch.Tensor) else result[0]
        changed = self.switch(SwitchingCall(self.n_calls, name, output, args, kwargs))
        self.n_calls += 1
        if in_place:
            return target.copy_(changed)
        return changed if isinstance(result, torch.Tensor) else type(result)((changed, *result[1:]))

    def _find_levels(self, values):
        """Yield the levels of all tensors in nested arguments that depend on the points."""
        if isinstance(values, torch.Tensor):
            level = self._levels.get(values)
            if level is not None:
                yield level
        elif isinstance(values, dict):
            yield from self._find_levels(tuple(values.values()))
        elif isinstance(values, tuple | list):
            for value in values:
                yield from self._find_levels(value)

    def _mark(self, values, level):
        """Store that all tensors of a result depend on the points."""
        if isinstance(values, torch.Tensor):
            self._levels[values] = level if values.is_floating_point() else INDEX
            if values._base is not None:
                self._levels[values._base] = max(level, self._levels.get(values._base, level))
        elif isinstance(values, tuple | list):
            for value in values:
                self._mark(value, level)

    def _check_training(self, name, args, kwargs):
        position, *names = _TRAINED[name]
        default = name not in ("batch_norm", "rrelu")  # as in torch.nn.functional
        flag = next((kwargs[key] for key in names if key in kwargs), default)
        if (args[position] if position < len(args) else flag) and not self.training:
            self._refuse_random(name, " in training mode")

    def _refuse_random(self, name, mode=""):
        if not self.training:
            raise UnsupportedOperationError(
                f"the module calls {name}{mode}, so its rows are random or depend on other rows; use layers that follow the "
                "evaluation mode"
            )


class RecordingMode(SwitchingMode):
    """A SwitchingMode that stores the statuses of all calls in ``statuses``, a list of tensors."""

    def __init__(self, points, *, training=False):
        super().__init__(points, training=training)
        self.statuses = []

    def switch(self, call):
        """Store the statuses."""
        self.statuses.append(call.statuses())
        return call.output


def compare(call, reference, statuses=None):
    """Return where a call's neurons are float between a pass and a recorded pass of reference points: bool, as the output.

    Parameters
    ----------
    call : SwitchingCall
    reference : list of tensors
        Statuses of the reference pass; of one row or of the same rows.
    statuses : tensor, optional
        Statuses of the points; by default those of the call.

    Returns
    -------
    bool tensor of the shape of the output
        True unless both are strictly on the same piece.

    Raises
    ------
    InputError
        The passes have other calls.
    """
    statuses = call.statuses() if statuses is None else statuses
    other = reference[call.number] if call.number < len(reference) else None
    if other is None or other.ndim != statuses.ndim or any(a not in (1, b) for a, b in zip(other.shape, statuses.shape)):
        shape = None if other is None else tuple(other.shape)
        raise InputError(
            f"call {call.number} ({call.name}) has statuses of shape {tuple(statuses.shape)}, and {shape} in the reference "
            "pass; give as many reference points as points"
        )
    return differ(statuses, other)


def check_module(module):
    """Validate that a module can be followed by a SwitchingMode.

    Raises
    ------
    InputError
        It is not a torch module.
    UnsupportedOperationError
        A part of it is scripted or compiled.
    """
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"module is a {type(module).__name__}; give a torch.nn.Module")
    for name, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule) or type(part).__module__.startswith("torch._dynamo"):
            raise UnsupportedOperationError(
                f"{name or 'the module'} is scripted or compiled, so its functions can't be followed; give the original one"
            )


def _describe(func, kwargs):
    """Return the name of a function without underscores, and whether it changes its first argument."""
    name = getattr(func, "__name__", type(func).__name__)
    if name in ("__get__", "__set__"):
        owner = getattr(func.__self__, "__name__", "property")
        if name == "__set__":
            return ("property" if owner in _SETTERS else f"the setter of {owner}"), False
        return (owner if owner in _LINEAR else "property"), False
    if name in _QUERIES or name == "__float__":
        return name, False
    dunder = name.startswith("__")
    in_place = name == "__setitem__" or (name.endswith("_") and not dunder) or bool(kwargs.get("inplace"))
    return name.strip("_"), in_place


def _check_level(name, level):
    if level == INDEX:
        raise UnsupportedOperationError(
            f"the module calls {name} with integers or truth values that depend on its input, which is not piecewise linear; "
            "use other functions"
        )
    if level == SCORES and (name in STATUSES or name in _SOFTMAX):
        raise UnsupportedOperationError(
            f"the module calls {name} after a softmax, so the softmax is not the last step; only a softmax of the scores is "
            "accepted"
        )


def _check_function(name, used, args, kwargs, find_levels):
    """Validate that a function which does not switch is affine in the tensors that depend on the points."""
    if name in _SOFTMAX:
        return
    if name in _PRODUCTS or name in _TRAINED:
        if len(used) > 1:
            raise UnsupportedOperationError(f"the module calls {name} of two tensors that depend on its input; use constants")
        return
    if name in _DIVISIONS:
        if any(find_levels((args[1:], kwargs))) or kwargs.get("rounding_mode") is not None:
            raise UnsupportedOperationError(f"the module calls {name} by a tensor that depends on its input; use constants")
        return
    if name not in _LINEAR:
        raise UnsupportedOperationError(
            f"the module calls {name}, which is not piecewise linear or not supported; use ReLU, LeakyReLU, HardTanh, clamp, "
            "abs, maxima, max pooling and affine functions"
        )


def _out_of_place():
    """Return the functions in place and their counterparts: dict of function to function."""
    pairs = {}
    for owner in (torch, torch.Tensor, torch.nn.functional):
        for name in STATUSES:
            if hasattr(owner, f"{name}_") and hasattr(owner, name):
                pairs[getattr(owner, f"{name}_")] = getattr(owner, name)
    return pairs


_OUT_OF_PLACE = _out_of_place()
