"""Logs of certifications in the format of Cohen et al.: a line per image; read, written, resumed.

A log is a text file with the header ``idx label predict radius correct time`` and a line per image, separated by tabs; predict
is -1 for an abstention, time is h:mm:ss.ffffff. The format has no place for settings, and programs that read it take the first
line as names of columns, so that comments would break them: ``LogWriter`` writes settings (guarantee, sigma, ...) to a file
beside the log, with ``.json`` after its name, and refuses to continue a log that was made with others.

Legend: B images.

References
----------
.. [1] Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, and its published logs.
"""

from __future__ import annotations

import contextlib
import decimal
import errno
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np

from .._types import BoolArray, FloatArray, IntArray, PathLike
from ..errors import DigestMismatchError, InputError, ShapeError, StoreError
from ..file_locks import FileLock, locked_error, refuse_locked
from ..publishing import publish, reason
from ..validation import check_choice, check_count
from .certificates import ABSTAINED, GUARANTEES, Certificate, Certificates, correct_predictions
from .log_lines import COLUMNS, parse_log

_FORMAT = "pwlnet-certification-log"
_OF_CERTIFICATE = ("guarantee", "sigma", "alpha", "n0", "seed", "method")  # settings that certificates repeat


@dataclass(frozen=True, eq=False)
class CertificationLog:
    """A log: arrays with an entry per image.

    Attributes
    ----------
    idx : int64[B]
        Numbers of the images in their data set.
    label : int64[B]
        True classes.
    predict : int64[B]
        Predicted classes; -1: abstained.
    radius : float64[B]
        Certified radii in l2; 0.0 if abstained. NaN where the log has a prediction and no radius: nothing is certified.
    correct : bool[B]
        Whether the prediction is the true class, without abstention.
    seconds : float64[B]
        NaN where the log has no time.
    stride : int or None
        Greatest common divisor of the steps of idx: the images are of a subset with this stride. None for less than two.
    settings : dict
        Of the file beside the log; empty if there is none.
    """

    idx: IntArray
    label: IntArray
    predict: IntArray
    radius: FloatArray
    correct: BoolArray
    seconds: FloatArray
    stride: int | None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def guarantee(self) -> str | None:
        """What the radii guarantee: "sound", "conditional" or "nominal"; None if the settings do not say: published logs."""
        return self.settings.get("guarantee")

    @property
    def abstained(self) -> BoolArray:
        """Images for which no class was certified: bool[B]."""
        return self.predict == ABSTAINED

    @property
    def n_missing(self) -> int:
        """Number of images of the stride between the first and the last one that the log does not have: int."""
        if self.stride is None:
            return 0
        return int((self.idx.max() - self.idx.min()) // self.stride + 1 - len(self.idx))

    def __len__(self) -> int:
        return len(self.idx)

    def __repr__(self) -> str:
        of = "no settings" if not self.settings else f"guarantee {self.guarantee!r}"
        return f"CertificationLog({len(self)} images, stride {self.stride}, {self.n_missing} missing; {of})"


def read_log(path: PathLike) -> CertificationLog:
    """Read a log of certifications, also one with other or missing columns, commas, Windows line ends or a byte order mark.

    Parameters
    ----------
    path : str or path
        The columns idx, label, predict and radius are needed; correct and time are optional, others are ignored.

    Returns
    -------
    CertificationLog

    Raises
    ------
    StoreError
        The file can't be read.
    InputError
        It is not such a log; the message names the line.

    Warns
    -----
    PwlnetWarning
        An incomplete last line was dropped, or radii are NaN.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "log.tsv")
    >>> rows = "idx label predict radius correct time|0 3 3 0.859 1 0:00:15.132702|20 8 -1 0.0 0 0:00:14.9"
    >>> _ = path.write_text(rows.replace(" ", chr(9)).replace("|", chr(10)) + chr(10))
    >>> log = read_log(path)
    >>> log.radius.tolist(), log.correct.tolist(), log.seconds.tolist(), log.stride
    ([0.859, 0.0], [True, False], [15.132702, 14.9], 20)
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} can't be read ({reason(error)}); give the path of a log") from error
    columns = parse_log(content, path)
    settings = _read_settings(path) or {}
    return CertificationLog(**columns, stride=find_stride(columns["idx"]), settings=settings)


def find_stride(idx):
    """Return the greatest common divisor of the steps between numbers of images; None for less than two: int or None."""
    steps = np.diff(np.sort(idx))
    return int(np.gcd.reduce(steps)) if len(steps) else None


def write_log(
    path: PathLike, certificates: Certificates, labels: Sequence[int] | IntArray, settings: dict[str, Any], *,
    digits: int | None = None,
) -> None:  # fmt: skip
    """Write certificates as a log; it must not exist.

    Parameters
    ----------
    path : str or path
    certificates : Certificates
    labels : int64[B]
    settings : dict
    digits : int, optional
        As for ``LogWriter``.

    Raises
    ------
    ShapeError
        There is not one label for each image.
    InputError, StoreError
        As for ``LogWriter``.
    """
    if len(labels) != len(certificates):
        raise ShapeError(f"labels has {len(labels)} entries, but there are {len(certificates)} images; give one for each")
    with LogWriter(path, settings, digits=digits) as writer:
        for certificate, label in zip(certificates, labels, strict=True):
            writer.append(label, certificate)


class LogWriter:
    """A log that is being written, image by image: each line is on the disk when ``append`` returns.

    Whatever stops the program, ``resume=True`` continues at the next image: a half-written last line is removed. The finished
    file has the bytes of one that was never stopped, if certificates and times are the same.

    Parameters
    ----------
    path : str or path
    settings : dict
        JSON values: what the certificates were computed with. "guarantee" is needed; entries sigma, alpha, n0, seed and method
        are compared with those of each certificate. They are written to ``path`` with ``.json`` after its name.
    resume : bool, optional
        Continue a log that exists. By default that is refused.
    digits : int, optional
        Round radii down to this number of decimals, so that no certified accuracy increases. By default they have all their
        digits, which give the same float64 when they are read.

    Attributes
    ----------
    done : set of int
        Images that the log has.

    Raises
    ------
    StoreError
        The log exists, can't be written, is being written by another program, or has no settings.
    DigestMismatchError
        It was made with other settings; the message names the first.
    InputError
        The settings have no guarantee or are not JSON values, or the log is not one of this writer.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from pwlnet.smoothing.certificates import Certificate
    >>> path = pathlib.Path(tempfile.mkdtemp(), "log.tsv")
    >>> with LogWriter(path, {"guarantee": "sound", "sigma": 0.25}) as writer:
    ...     writer.append(3, Certificate(3, 0.5, 0.98, 990, 1000, 0.001, "sound", float("nan"), 0, 0.25, image=20, seconds=1.5))
    >>> path.read_text().split()[6:]
    ['20', '3', '3', '0.5', '1', '0:00:01.500000']
    """

    def __init__(self, path: PathLike, settings: dict[str, Any], *, resume: bool = False, digits: int | None = None) -> None:
        self.path, self.settings = Path(path), _checked_settings(settings)
        self._digits = check_count(digits, "digits", or_none="all digits")
        self.done: set[int] = set()
        self._file, self._lock = None, None
        exists = self.path.exists()
        if exists and not resume:
            raise StoreError(f"{self.path} exists; resume it, give another path, or remove it first")
        stored = _read_settings(self.path)
        if resume and stored is not None:
            self._refuse_other(stored)
        elif exists and self.path.stat().st_size:
            raise StoreError(f"{_settings_path(self.path)} with the settings of {self.path} is missing; write to another path")
        else:
            text = json.dumps(self._described(), indent=1, ensure_ascii=False)
            publish(_settings_path(self.path), text.encode() + b"\n", overwrite=True)
        self._open()

    def append(self, label: int, certificate: Certificate) -> None:
        """Write the line of an image.

        Parameters
        ----------
        label : int
            True class.
        certificate : Certificate
            ``image`` is the number in the log.

        Raises
        ------
        InputError
            The image is in the log already, or the certificate has other settings.
        StoreError
            The log is closed or can't be written; its lines are kept.
        """
        if self._lock is not None:
            self._lock.check_process()
        if self._file is None:
            raise StoreError(f"{self.path} is closed with {len(self.done)} images; append before close, or resume it")
        for name in _OF_CERTIFICATE:
            if name in self.settings and self.settings[name] != getattr(certificate, name):
                raise InputError(
                    f"the certificate has {name} {getattr(certificate, name)!r}, but {self.path} is for "
                    f"{self.settings[name]!r}; write to another log"
                )
        if certificate.image in self.done:
            raise InputError(f"image {certificate.image} is in {self.path} already; append each image once")
        line = _line(int(label), certificate, self._digits)
        try:
            self._write(line.encode())
        except OSError as error:
            self.close()
            raise StoreError(f"{self.path} can't be extended ({reason(error)}); free space and resume it") from error
        self.done.add(certificate.image)

    def close(self) -> None:
        """Close the file; all lines are on the disk already."""
        if self._file is not None:
            if self._lock is not None:
                self._lock.release()
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _described(self):
        return {"format": _FORMAT, "version": 1, "digits": self._digits, "settings": self.settings}

    def _refuse_other(self, stored):
        """Refuse settings that differ from those of the file."""
        stored = {**stored, "digits": _read_json(self.path).get("digits")}
        given = {**self.settings, "digits": self._digits}
        for name in sorted({*stored, *given}):
            if stored.get(name) != given.get(name):
                raise DigestMismatchError(
                    f"{self.path} was made with {name} {stored.get(name)!r}, not {given.get(name)!r}; give the same settings, "
                    "or write to another log"
                )

    def _open(self):
        """Open and lock the file, and remove what is after its last complete line."""
        try:
            refuse_locked(self.path)
            self._file = io.FileIO(self.path, "a+")
            self._take_lock()
            self._file.seek(0)
            content = self._file.read()
            complete = content[: content.rfind(b"\n") + 1]
            self._file.truncate(len(complete))
            if complete:
                self.done = set(parse_log(complete, self.path)["idx"].tolist())
            else:
                self._write("\t".join(COLUMNS).encode() + b"\n")
        except OSError as error:
            self.close()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{self.path} can't be written ({reason(error)}); choose another folder") from error
        except BaseException:
            self.close()
            raise

    def _take_lock(self):
        try:
            self._lock = FileLock(self._file.fileno(), self.path, self)
        except BlockingIOError:
            raise locked_error(self.path) from None

    def _write(self, line):
        """Write a line and flush it to the disk."""
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file.fileno())


def _line(label, certificate, digits):
    """Format the line of an image."""
    correct = correct_predictions(np.array([certificate.label]), [label])[0]
    words = (certificate.image, label, certificate.label, _radius_text(certificate.radius, digits), int(correct))
    return "\t".join([*map(str, words), _time_text(certificate.seconds)]) + "\n"


def _radius_text(radius, digits):
    """Format a radius with all its digits, or rounded down."""
    if digits is None:
        return repr(float(radius))
    step = decimal.Decimal(1).scaleb(-digits)
    with decimal.localcontext(prec=400):
        return format(decimal.Decimal(float(radius)).quantize(step, rounding=decimal.ROUND_FLOOR), "f")


def _time_text(seconds):
    """Format seconds as h:mm:ss.ffffff."""
    if not math.isfinite(seconds):
        return "nan"
    whole, micro = divmod(round(seconds * 10**6), 10**6)
    return f"{timedelta(seconds=whole)}.{micro:06d}"


def _checked_settings(settings):
    """Validate settings, in the form in which JSON returns them."""
    try:
        copied = json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"settings can't be written as JSON ({error}); give a dict of JSON values") from None
    if not isinstance(copied, dict) or "guarantee" not in copied:
        raise InputError(f"settings have no guarantee; give one of {', '.join(map(repr, GUARANTEES))}")
    check_choice(copied["guarantee"], GUARANTEES, "settings['guarantee']")
    return copied


def _settings_path(path):
    return path.with_name(f"{path.name}.json")


def _read_json(path):
    """Read the file beside a log: dict; empty if there is none."""
    beside = _settings_path(path)
    if not beside.exists():
        return {}
    try:
        described = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{beside} can't be read ({reason(error)}); restore it, or move it away") from error
    if not isinstance(described, dict) or described.get("format") != _FORMAT:
        return {}  # of another program
    return described


def _read_settings(path):
    """Read the settings beside a log: dict or None."""
    return _read_json(path).get("settings")
