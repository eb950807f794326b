"""Errors a user meets: each says what is wrong, where, and what to do; none needs a traceback."""


class FwcoreError(Exception):
    """Base of every error raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 2


class SettingsError(FwcoreError):
    """A setting, policy or personality is unknown, out of range or contradictory."""


class CaptureError(FwcoreError):
    """A capture cannot be opened: missing, empty, a directory, not a capture."""


class ConfigFrozen(FwcoreError):
    """A change was refused because conserve mode freezes the configuration."""


class MissingExtra(FwcoreError):
    """An optional dependency is not installed; the message names the extra to install."""


class LawBroken(FwcoreError):
    """Two independent sources of one figure disagree: a defect of fwcore."""

    exit_code = 5


class OutputError(FwcoreError):
    """An output cannot be written; the message names it."""


class PipeClosed(OutputError):
    """Whoever read an output has gone; 141 is what SIGPIPE would have given (128 + 13)."""

    exit_code = 141
