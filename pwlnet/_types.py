"""Names for the types of arguments and results that many signatures share.

Shapes, and the meaning of axes, are in the docstrings.
"""

import os
from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "AnyArray", "ArrayLike", "BoolArray", "Dtype", "Float32Array", "FloatArray", "Index", "Int8Array", "Int32Array", "IntArray",
    "Integers", "PathLike", "UInt8Array", "WordArray",
]  # fmt: skip

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
