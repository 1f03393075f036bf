"""Checkpoints of training: one file, replaced atomically, with a checksum.

A file is a line ``pwlnet checkpoint 1 SHA-256`` followed by the output of torch.save; reading it runs no code from the file.
"""

import hashlib
import io
from pathlib import Path

import torch

from ..errors import ChecksumError, DigestMismatchError, FormatVersionError, StoreError
from ..publishing import publish

MAGIC = b"pwlnet checkpoint "
VERSION = b"1"


def save(path, state):
    """Write a checkpoint atomically: the previous one is kept until the new one is complete.

    Raises
    ------
    StoreError
        The file can't be written.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    head = MAGIC + VERSION + b" " + hashlib.sha256(content).hexdigest().encode() + b"\n"
    publish(path, head + content, overwrite=True, temporary_name=f".{path.name}.part")


def load(path):
    """Read a checkpoint.

    Raises
    ------
    StoreError
        The file cannot be read, or is not a checkpoint.
    FormatVersionError
        The file has another format version.
    ChecksumError
        The file is damaged.
    """
    try:
        head, _, content = Path(path).read_bytes().partition(b"\n")
    except OSError as error:
        raise StoreError(f"checkpoint {path} can't be read ({error.strerror}); check the path and its permissions") from error
    if not head.startswith(MAGIC) or head.count(b" ") != 3:
        raise StoreError(f"{path} is not a checkpoint of pwlnet; give the file that training wrote, or another path")
    version, digest = head.removeprefix(MAGIC).split(b" ")
    if version != VERSION:
        raise FormatVersionError(
            f"checkpoint {path} has format version {version.decode(errors='replace')}, but this pwlnet reads version "
            f"{VERSION.decode()}; resume with the pwlnet that wrote it"
        )
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ChecksumError(f"checkpoint {path} does not match its checksum; it is damaged, restore a copy or train again")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def check_place(path, resume):
    """Validate that the folder of a path exists, and that the file does not, unless training is resumed from it."""
    path = Path(path)
    if not path.parent.is_dir():
        raise StoreError(f"checkpoint is {str(path)!r}, but {path.parent} is not a folder; create it, or give another path")
    if path.exists() and not resume:
        raise StoreError(f"checkpoint {path} exists; give resume=True to resume from it, or another path")


def check_settings(path, stored, given):
    """Validate that a checkpoint has the given settings; the error names the first one that differs."""
    for name in sorted(stored.keys() | given.keys()):
        if stored.get(name) != given.get(name):
            known = all(len(str(value)) < 40 for value in (stored.get(name), given.get(name)))
            values = f" ({stored.get(name)} there, {given.get(name)} here)" if known else ""
            raise DigestMismatchError(
                f"checkpoint {path} was made with another {name}{values}; train with the same, or give another path"
            )
