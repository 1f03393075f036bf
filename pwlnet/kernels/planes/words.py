"""Bits of 64-bit words: the position of the lowest one, their number, and hashing."""

import numpy as np
from llvmlite import ir
from numba.core import config, types
from numba.extending import intrinsic

from .._jit import inlined_kernel

ONE_BIT = np.uint64(1)


@intrinsic
def _lowest_bit(typing_context, word):
    """Compiled form of ``lowest_bit``."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


def _lowest_bit_interpreted(word):
    """Uncompiled form of ``lowest_bit``."""
    word = int(word)
    return (word & -word).bit_length() - 1


# Return the position of the lowest set bit of a uint64 that is not 0.
lowest_bit = _lowest_bit_interpreted if config.DISABLE_JIT else _lowest_bit


@intrinsic
def _count_bits(typing_context, word):
    """Compiled form of ``count_bits``."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


def _count_bits_interpreted(word):
    """Uncompiled form of ``count_bits``."""
    return int(word).bit_count()


# Return the number of set bits of a uint64.
count_bits = _count_bits_interpreted if config.DISABLE_JIT else _count_bits


@inlined_kernel
def mix_key(first, second, label):
    """Return a hash of an unordered pair of keys and a label, all uint64 (the finalizer of SplitMix64)."""
    x = (first + second) ^ (label * np.uint64(0x9E3779B97F4A7C15))
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
