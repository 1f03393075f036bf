"""Philox4x32-10: random words as a function of a counter and a key (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011, Section 3.3), and uniform, normal and exponential numbers made of them.

There is no state, so any draw is recomputed from its number. All operations are correctly rounded ones (no library functions), so
the numbers have the same bits on all processors. They are made in chunks of CHUNK numbers, so that loops have a fixed length that
the compiler turns into vector instructions: number ``CHUNK * q + LANES * k + j`` of a draw is word k of the counter
(LANES * q + j, draw, set, stream).
"""

import numpy as np

from .._jit import entry_kernel, inlined_kernel, kernel

LANES = 16
CHUNK = 64
HALF = 32

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_ONE = np.uint64(1)
_QUARTER, _REST = np.uint64(30), np.uint64(0x3FFFFFFF)
_MANTISSA, _EXPONENT_OF_ONE = np.int64(0xFFFFFFFFFFFFF), np.int64(0x3FF0000000000000)
_MANTISSA_BITS, _BIAS = np.int64(52), np.int64(1023)
_TO_UNIT, _TO_UNIT_31, _TO_UNIT_30 = 2.0**-32, 2.0**-31, 2.0**-30
_LN_2, _SQRT_2, _HALF_PI = 0.6931471805599453, 1.4142135623730951, 1.5707963267948966


@inlined_kernel
def _round(a, b, c, d, k0, k1):
    """Apply one round to the words a, b, c, d (each below 2**32, in uint64)."""
    p, q = _MULTIPLIER_0 * a, _MULTIPLIER_1 * c
    return (q >> _WORD) ^ b ^ k0, q & _LOW, (p >> _WORD) ^ d ^ k1, p & _LOW


@inlined_kernel
def _philox(a, b, c, d, k0, k1):
    """Apply ten rounds. Written out: the compiler vectorizes the loop over counters only if it is the innermost one."""
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    return _round(a, b, c, d, k0, k1)


@entry_kernel
def philox_blocks(counters, key, words_out):
    """Compute the words of counters uint64[n, 4], entries below 2**32, with a key uint64[2]. Out: words_out uint64[n, 4]."""
    for n in range(counters.shape[0]):
        words = _philox(counters[n, 0], counters[n, 1], counters[n, 2], counters[n, 3], key[0], key[1])
        words_out[n, 0], words_out[n, 1], words_out[n, 2], words_out[n, 3] = words


@kernel
def fill_words(key, chunk, draw, number, stream, words_out):
    """Compute the words of one chunk of a draw of set ``number``. Out: words_out uint64[CHUNK], each below 2**32."""
    k0, k1, b, c, d = key[0], key[1], np.uint64(draw), np.uint64(number), np.uint64(stream)
    first = np.uint64(chunk * LANES)
    for j in range(LANES):
        words = _philox(first + np.uint64(j), b, c, d, k0, k1)
        words_out[j], words_out[LANES + j], words_out[2 * LANES + j], words_out[3 * LANES + j] = words


@inlined_kernel
def uniform(word):
    """Return the number in (0, 1) of a word: the middle of one of 2**32 equal intervals."""
    return (float(np.int64(word)) + 0.5) * _TO_UNIT


@kernel
def log_in_place(n, values, bits):
    """Replace n positive normal numbers by their logarithms; ``bits`` int64[*] is the memory of ``values`` float64[*].

    With m in [1/sqrt 2, sqrt 2] and s = (m - 1) / (m + 1): log(2**e m) = e log 2 + 2 (s + s**3 / 3 + s**5 / 5 + ...); the
    terms left out are below 1e-15.
    """
    half = n  # exponents are kept after the n values
    for j in range(n):
        b = bits[j]
        bits[half + j] = (b >> _MANTISSA_BITS) - _BIAS
        bits[j] = (b & _MANTISSA) | _EXPONENT_OF_ONE
    for j in range(n):
        m, e = values[j], float(bits[half + j])
        large = m > _SQRT_2
        m = 0.5 * m if large else m
        e = e + 1.0 if large else e
        s = (m - 1.0) / (m + 1.0)
        t = s * s
        p = 1.0 / 17.0
        p = p * t + 1.0 / 15.0
        p = p * t + 1.0 / 13.0
        p = p * t + 1.0 / 11.0
        p = p * t + 1.0 / 9.0
        p = p * t + 1.0 / 7.0
        p = p * t + 1.0 / 5.0
        p = p * t + 1.0 / 3.0
        values[j] = e * _LN_2 + 2.0 * (s + s * t * p)


@kernel
def fill_normals(words, values, bits, normals_out):
    """Compute CHUNK normal numbers by Box and Muller's method (Ann. Math. Statist. 29, 1958); |n| is below 6.7.

    The angle is a quarter turn times the word's two highest bits, plus x in [-pi/4, pi/4], whose sine and cosine are Taylor
    polynomials (terms left out: below 1e-16). values, bits: scratch float64[2 * CHUNK] and its memory as int64.
    """
    for j in range(HALF):
        values[j] = uniform(words[j])
    log_in_place(HALF, values, bits)
    for j in range(HALF):
        radius = np.sqrt(-2.0 * values[j])
        word = words[HALF + j]
        quarter = word >> _QUARTER
        x = ((float(np.int64(word & _REST)) + 0.5) * _TO_UNIT_30 - 0.5) * _HALF_PI
        t = x * x
        s = 1.0 - t * (1.0 / 210.0)
        s = 1.0 - t * (1.0 / 156.0) * s
        s = 1.0 - t * (1.0 / 110.0) * s
        s = 1.0 - t * (1.0 / 72.0) * s
        s = 1.0 - t * (1.0 / 42.0) * s
        s = 1.0 - t * (1.0 / 20.0) * s
        s = x * (1.0 - t * (1.0 / 6.0) * s)
        c = 1.0 - t * (1.0 / 240.0)
        c = 1.0 - t * (1.0 / 182.0) * c
        c = 1.0 - t * (1.0 / 132.0) * c
        c = 1.0 - t * (1.0 / 90.0) * c
        c = 1.0 - t * (1.0 / 56.0) * c
        c = 1.0 - t * (1.0 / 30.0) * c
        c = 1.0 - t * (1.0 / 12.0) * c
        c = 1.0 - t * 0.5 * c
        odd = (quarter & _ONE) == _ONE
        a, b = (s if odd else c), (c if odd else s)
        normals_out[j] = radius * (-a if quarter == _ONE or quarter == np.uint64(2) else a)
        normals_out[HALF + j] = radius * (-b if quarter >= np.uint64(2) else b)


@kernel
def fill_exponentials(words, values, bits, signed_out):
    """Compute CHUNK numbers of the density exp(-|t|) / 2; the lowest bit of a word is the sign. Scratch as for normals."""
    for j in range(CHUNK):
        values[j] = (float(np.int64(words[j] >> _ONE)) + 0.5) * _TO_UNIT_31
    log_in_place(CHUNK, values, bits)
    for j in range(CHUNK):
        negative = (words[j] & _ONE) == _ONE
        signed_out[j] = values[j] if negative else -values[j]
