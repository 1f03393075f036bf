"""Publish files atomically: a file appears at its path complete, or not at all. Decode text files of other programs."""

import codecs
import contextlib
import os
import secrets
from pathlib import Path

from .errors import StoreError


def reason(error):
    """Return the shortest text that explains an error: the system's words for its number, else its first line."""
    if isinstance(error, OSError) and error.strerror and error.errno:
        return os.strerror(error.errno)
    return (str(error).splitlines() or [type(error).__name__])[0].strip("'\"")


def decode_text(content):
    """Decode a text file: UTF-8 or UTF-16 by its byte order mark, else UTF-8, else Latin-1, of which comments consist.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    str

    Raises
    ------
    ValueError
        It holds a zero byte, and so is no text.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    if b"\0" in content:
        raise ValueError("it has zero bytes, so it is not text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


@contextlib.contextmanager
def new_file(path, *, overwrite=False, temporary_name=None):
    """Provide a temporary path beside ``path``, and move what the block wrote there to ``path``, flushed to the disk.

    Parameters
    ----------
    path : str or path
    overwrite : bool, optional
        Replace an existing file.
    temporary_name : str, optional
        A fixed name for the temporary file, so that the one of a killed program is replaced; random by default.

    Yields
    ------
    pathlib.Path
        Nothing is left there after the block, whatever happens.

    Raises
    ------
    StoreError
        The file exists, or can't be written. Other exceptions of the block pass.
    """
    path = Path(path)
    exists = StoreError(f"{path} exists; give another path, or remove it first")
    if path.exists() and not overwrite:
        raise exists
    temporary = path.with_name(temporary_name or f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            yield temporary
            _flush(temporary)
            if path.exists() and not overwrite:
                raise exists
            os.replace(temporary, path)
            with contextlib.suppress(OSError):  # not every file system can flush a folder
                _flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except StoreError:
        raise
    except OSError as error:
        advice = "make the folder first" if not path.parent.exists() else "free space or choose another folder"
        raise StoreError(f"{path} can't be written ({reason(error)}); nothing was left there, {advice}") from error


def publish(path, content, *, overwrite=False, temporary_name=None):
    """Write a whole file; parameters and errors as for ``new_file``, ``content`` is bytes."""
    with new_file(path, overwrite=overwrite, temporary_name=temporary_name) as temporary:
        temporary.write_bytes(content)


def _flush(path):
    """Flush a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
