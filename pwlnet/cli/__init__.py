"""The command line: arguments, exit codes, messages. Large libraries are imported inside the subcommands only.

Exit codes: 0: success; 2: wrong usage or bad input, one line on stderr; 1: unexpected error; 130: Ctrl-C; 143: SIGTERM.
"""

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
import warnings

from .._version import __version__
from ..errors import PwlnetError
from . import attribute, certify, decide, floats, lines, networks, planes, regions, reproduce, run, stores, train

__all__ = ["main"]


_NEGATIVE = re.compile(r"(-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|-inf(inity)?|-nan)$", re.IGNORECASE)


class _Parser(argparse.ArgumentParser):
    """A parser that prints errors on one line, as the rest of the program does, and takes every form of a negative number."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._negative_number_matcher = _NEGATIVE  # argparse takes -1e3 and -inf for options

    def error(self, message):
        self.exit(2, f"pwlnet: {message}; {self.prog} --help shows the usage\n")


class _Terminated(KeyboardInterrupt):
    """SIGTERM was received: the command ends as after Ctrl-C."""


@contextlib.contextmanager
def _sigterm_raises():
    """Raise _Terminated on SIGTERM, unless this is not the main thread or the signal has a handler already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def terminate(number, frame):
        raise _Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _plain_warnings():
    """Print each warning once, on one line without the source that issued it."""
    shown = set()

    def show(message, category, filename, lineno, file=None, line=None):
        text = " ".join(str(message).split())
        if text not in shown:
            shown.add(text)
            _say(f"warning: {text}")

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before


def _say(text):
    """Print a line to stderr, if there is one that is open and has the letters."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        print("pwlnet:", text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Without the name of the program; ``sys.argv`` by default.

    Returns
    -------
    int
        The exit code.
    """
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as stop:  # --help, --version, wrong use
        return stop.code or 0
    try:
        with _sigterm_raises(), _plain_warnings():
            options.run(options)
            if sys.stdout is not None:
                sys.stdout.flush()
    except _Terminated as error:
        return _fail(128 + signal.SIGTERM, "terminated", error)
    except KeyboardInterrupt as error:
        return _fail(128 + signal.SIGINT, "interrupted", error)
    except BrokenPipeError:  # the reader has closed our output: print nothing, not even when Python flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (PwlnetError, ImportError) as error:
        return _fail(2, str(error), error, trace=options.debug)
    except Exception as error:  # the last resort: no traceback without --debug
        hint = "" if options.debug else "; --debug shows where"
        return _fail(1, f"failed with {type(error).__name__}: {error}{hint}", error, trace=options.debug)
    return 0


def _fail(code, message, error, *, trace=False):
    """Print one line, after the traceback if ``trace``, and return the exit code."""
    if trace:
        import traceback

        traceback.print_exception(error)
    sentences = [message, *getattr(error, "__notes__", ())]
    _say(" ".join("; ".join(sentences).split()))
    return code


def _parser():
    parser = _Parser(prog="pwlnet", description="Exact analysis of piecewise-linear neural networks.")
    parser.add_argument("--version", action="version", version=f"pwlnet {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    networks.add_commands(commands, common)
    lines.add_commands(commands, common)
    planes.add_commands(commands, common)
    regions.add_commands(commands, common)
    floats.add_commands(commands, common)
    attribute.add_commands(commands, common)
    decide.add_commands(commands, common)
    certify.add_commands(commands, common)
    stores.add_commands(commands, common)
    train.add_commands(commands, common)
    reproduce.add_commands(commands, common)
    run.add_commands(commands, common)
    return parser
