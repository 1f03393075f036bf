"""Names for the types of arguments and results that many signatures share.

Shapes, and the meaning of axes, are in the docstrings.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AnyArray",
    "ArrayLike",
    "BoolArray",
    "BoundMethod",
    "Check",
    "Dtype",
    "Float32Array",
    "FloatArray",
    "FloatMethod",
    "Gates",
    "Guarantee",
    "Index",
    "Int32Array",
    "Int8Array",
    "IntArray",
    "Integers",
    "PathLike",
    "SearchMethod",
    "StopReason",
    "UInt8Array",
    "VoteMethod",
    "WordArray",
]

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Int8Array = NDArray[np.int8]
UInt8Array = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]
WordArray = NDArray[np.uint64]  # packed bits
AnyArray = NDArray[Any]  # of a type that depends on an argument

Index = SupportsIndex  # one position: an int, or an integer of NumPy
Integers = Sequence[int] | NDArray[np.integer[Any]]
PathLike = str | os.PathLike[str]
Dtype = Literal["float64", "float32"]

# Choices of options: functions check them with ``typing.get_args``.
Check = Literal["strict", "warn", "off"]
BoundMethod = Literal["ibp", "crown_ibp", "crown", "alpha_crown"]
FloatMethod = Literal["exact", "ibp", "crown_ibp", "crown", "alpha_crown", "sampled", "pair", "given"]
SearchMethod = Literal["auto", "subdivision", "search", "planes"]
VoteMethod = Literal["clopper_pearson", "sequential", "two_stage"]
Guarantee = Literal["sound", "conditional", "nominal"]
StopReason = Literal["max_regions", "time_limit", "interrupted"]
Gates = Literal["frozen", "live"]
