"""Philox4x32-10: random words as a function of a counter and a key, and uniform, normal and exponential numbers made of them.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, Section 3.3. There is no state, so any draw is computed
again from its number. All operations are correctly rounded ones (no library functions, no fused multiply-add), so the numbers
have the same bits on all processors. They are made in chunks of CHUNK numbers, so that loops have a fixed length that the
compiler turns into vector instructions: number ``CHUNK * q + LANES * k + j`` of a draw is word k of the counter
(LANES * q + j, draw, set, stream).

Not all processors have vector instructions that convert integers to doubles: an integer k below 2**52 becomes the low bits of
the double 2**52 + k instead, from which 2**52 is subtracted, which is exact. Polynomials have the smallest largest error on
their intervals (Remez exchange), as far as rounding of the coefficients allows.
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
_NONE, _ONE = np.uint64(0), np.uint64(1)
_REST, _BIT_30 = np.uint64(0x3FFFFFFF), np.uint64(1 << 30)
_SIGN, _TO_SIGN = np.uint64(1 << 63), np.uint64(63)
_MANTISSA, _MANTISSA_BITS = np.uint64(0xFFFFFFFFFFFFF), np.uint64(52)
_TWO_51, _TWO_52 = 2.0**51, 2.0**52
_BITS_51, _BITS_52 = (np.float64(x).view(np.uint64) for x in (_TWO_51, _TWO_52))
_ROOT_HALF = np.float64(0.7071067811865476).view(np.uint64)
_BELOW_ROOT_HALF = _ROOT_HALF - (_ONE << _MANTISSA_BITS)  # sqrt(1/2) / 2
_TO_UNIT = 2.0**-32
_MINUS_TWO_LN_2, _ANGLE_UNIT = -1.3862943611198906, 1.5707963267948966 * 2.0**-30
_S2, _S4, _S6 = -0.16666666666666632, 0.008333333333322424, -0.1984126982981669 / 1e3
_S8, _S10, _S12 = 2.7557313695150726 / 1e6, -2.505075864297579 / 1e8, 1.5896827397381593 / 1e10
_C4, _C6, _C8 = 0.0416666666666666, -0.0013888888888874138, 2.4801587289491837 / 1e5
_C10, _C12, _C14 = -2.755731435524447 / 1e7, 2.0875723684804846 / 1e9, -1.1359669888682173 / 1e11


@inlined_kernel
def _as_double(bits):
    """Return the double with the given bits."""
    return np.uint64(bits).view(np.float64)


@inlined_kernel
def _bits_of(value):
    """Return the bits of a double."""
    return np.float64(value).view(np.uint64)


@inlined_kernel
def _plus_half(word):
    """Return word + 1/2 as a double; word is below 2**32."""
    return _as_double(word | _BITS_52) - (_TWO_52 - 0.5)


@inlined_kernel
def _round(a, b, c, d, k0, k1):
    """Apply one round to the low halves of the words a, b, c, d (in uint64); high halves are anything.

    So written, a round is two 32-bit multiplications, two shifts and two exclusive or in vector instructions.
    """
    p, q = _MULTIPLIER_0 * (a & _LOW), _MULTIPLIER_1 * (c & _LOW)
    return (q >> _WORD) ^ b ^ k0, q, (p >> _WORD) ^ d ^ k1, p


@inlined_kernel
def _philox(a, b, c, d, k0, k1):
    """Apply ten rounds. Written out: the compiler vectorizes the loop over counters only if it is the innermost one."""
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    k0, k1 = k0 + _WEYL_0, k1 + _WEYL_1
    a, b, c, d = _round(a, b, c, d, k0, k1)
    return a & _LOW, b & _LOW, c & _LOW, d & _LOW


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
    return _plus_half(word) * _TO_UNIT


@inlined_kernel
def _minus_two_log(value, shift):
    """Return -2 log(2**-shift v) of v in [1/2, 2**shift), shift a float.

    With m in [1/sqrt 2, sqrt 2] and s = (1 - m) / (1 + m): -log(2**e m) = -e log 2 + 2 (s + s**3 / 3 + ...); the polynomial is
    right to 2e-18.
    """
    bits = _bits_of(value) - _BELOW_ROOT_HALF
    e = _as_double((bits >> _MANTISSA_BITS) | _BITS_52) - (_TWO_52 + 1.0 + shift)
    m = _as_double((bits & _MANTISSA) + _ROOT_HALF)
    s = (1.0 - m) / (1.0 + m)
    t = s * s
    p = 0.07397976212778372
    p = p * t + 0.07657025116433347
    p = p * t + 0.09091782170404455
    p = p * t + 0.11111099286424853
    p = p * t + 0.14285714371195762
    p = p * t + 0.1999999999970733
    p = p * t + 0.3333333333333367
    return e * _MINUS_TWO_LN_2 + 4.0 * (s + s * t * p)


@inlined_kernel
def _sine_and_cosine(x):
    """Return the sine and the cosine of x in [-pi/4, pi/4]. The polynomials are right to 4e-18."""
    t = x * x
    s = _S12
    s = s * t + _S10
    s = s * t + _S8
    s = s * t + _S6
    s = s * t + _S4
    s = s * t + _S2
    c = _C14
    c = c * t + _C12
    c = c * t + _C10
    c = c * t + _C8
    c = c * t + _C6
    c = c * t + _C4
    return x + x * t * s, 1.0 + (c * t - 0.5) * t


@kernel
def fill_normals(words, normals_out):
    """Compute CHUNK normal numbers by Box and Muller's method (Ann. Math. Statist. 29, 1958); |n| is below 6.7.

    The angle is a quarter turn times the word's two highest bits, plus x in [-pi/4, pi/4]: quarter turns exchange sine and
    cosine and change their signs.
    """
    for j in range(HALF):
        radius = _bits_of(np.sqrt(_minus_two_log(_plus_half(words[j]), 32.0)))
        word = words[HALF + j]
        odd_bits = ((word & _REST) << _ONE) | _ONE  # of 2 rest + 1: with 2**51 in place of 2**52, the last bit is 1/2
        s, c = _sine_and_cosine((_as_double(odd_bits | _BITS_51) - (_TWO_51 + 2.0**29)) * _ANGLE_UNIT)
        odd = (word & _BIT_30) != _NONE
        a, b = (s if odd else c), (c if odd else s)
        high = word << _WORD
        normals_out[j] = _as_double(radius ^ ((high ^ (high << _ONE)) & _SIGN)) * a
        normals_out[HALF + j] = _as_double(radius ^ (high & _SIGN)) * b


@kernel
def fill_exponentials(words, signed_out):
    """Compute CHUNK numbers of the density exp(-|t|) / 2; the lowest bit of a word is the sign."""
    for j in range(CHUNK):
        size = 0.5 * _minus_two_log(_plus_half(words[j] >> _ONE), 31.0)
        signed_out[j] = _as_double(_bits_of(size) ^ (words[j] << _TO_SIGN))
