"""Every exception and warning class of pwlnet.

Each message is one sentence: what was given; what was needed; what to do. Every class also derives from the built-in
exception a caller would expect, so ``except ValueError`` keeps working.
"""


class PwlnetError(Exception):
    """Root of all errors that pwlnet raises on purpose."""


class ShapeError(PwlnetError, ValueError):
    """An array does not have the shape that the network or the function needs."""


class InputError(PwlnetError, ValueError):
    """A value is outside what the function accepts: not finite, of a wrong dtype, an unknown option."""


class UnsupportedOperationError(PwlnetError, NotImplementedError):
    """A network contains an operation that is not piecewise linear, or not supported; the message names the node."""


class ConversionError(PwlnetError, ValueError):
    """A network file or module can't be read, or the converted network disagrees with its source."""


class CapacityError(PwlnetError, RuntimeError):
    """A result would be larger than the limit that the caller set."""


class NumericalError(PwlnetError, ArithmeticError):
    """A computation left the range in which its result can be trusted."""


class InfeasibleError(PwlnetError, ValueError):
    """A set that must not be empty is empty."""


class StoreError(PwlnetError, OSError):
    """A store can't be read or written."""


class ChecksumError(StoreError):
    """Stored data do not match their checksum."""


class FormatVersionError(StoreError):
    """A store was written in a format version that this pwlnet can't read."""


class DigestMismatchError(StoreError):
    """A store belongs to another network, or to other parameters."""


class MissingDataError(PwlnetError, FileNotFoundError):
    """A named dataset is neither in the local folder nor in the cache and can't be downloaded."""


class PwlnetWarning(UserWarning):
    """A result is right, but perhaps not what was wanted."""


class UnverifiedStoreWarning(PwlnetWarning):
    """A store was changed or copied by another program, so its checksums are missing; ``pwlnet repair`` adds them again."""
