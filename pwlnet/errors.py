"""All exceptions and warnings of pwlnet.

Each message is one sentence: what was given; what was needed; what to do. Every class also derives from the corresponding
built-in exception, so ``except ValueError`` works.
"""


class PwlnetError(Exception):
    """Base class of all errors that pwlnet raises."""


class ShapeError(PwlnetError, ValueError):
    """An array does not have the shape that the network or the function needs."""


class InputError(PwlnetError, ValueError):
    """A value is not accepted: not finite, of a wrong dtype, an unknown option."""


class UnsupportedOperationError(PwlnetError, NotImplementedError):
    """A network has an operation that is not piecewise linear or not supported; the message names its node."""


class ConversionError(PwlnetError, ValueError):
    """A network file or module can't be read, or the converted network disagrees with its source."""


class CapacityError(PwlnetError, RuntimeError):
    """A result would exceed a limit set by the caller."""


class NumericalError(PwlnetError, ArithmeticError):
    """A computation left the range in which its result is reliable."""


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
