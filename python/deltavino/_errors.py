"""Exceptions by kind. Each carries the exit code of the program for it."""


class Error(Exception):
    """What could not be done, with which object, what was expected and found, and a hint."""

    exit_code = 1


class UsageError(Error, ValueError):
    """A wrong option, or options that do not go together."""

    exit_code = 2


class InputError(Error, ValueError):
    """A bad checkpoint, config, tokenizer, picture or directory."""

    exit_code = 3


class UnsupportedError(Error):
    """A valid input that this version cannot handle, or something that is missing on this machine."""

    exit_code = 4


class OutputError(Error, OSError):
    """The target cannot be written: it exists, there is no space, no permission."""

    exit_code = 5


class NetworkError(Error, ConnectionError):
    """The Hub did not give a file."""

    exit_code = 6


class BugError(Error, RuntimeError):
    """A bug in deltavino."""

    exit_code = 70


class Cancelled(Error):
    """Stopped by another thread. Ctrl-C raises KeyboardInterrupt, a callback whatever it raises."""

    exit_code = 130


_KINDS = {
    kind.exit_code: kind
    for kind in (UsageError, InputError, UnsupportedError, OutputError, NetworkError, BugError, Cancelled)
}


def make(exit_code: int, message: str) -> Error:
    """The exception of a kind."""
    return _KINDS.get(exit_code, BugError)(message)
