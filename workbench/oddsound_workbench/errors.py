"""Errors of the workbench; the errors of the library are in `oddsound.errors`."""


class WorkbenchError(Exception):
    """The base class; a command prints the text in one line and exits with 3."""


class FolderError(WorkbenchError):
    """A folder, file or pattern does not give what the command needs."""


class BackfillError(WorkbenchError):
    """There is nothing to score, or no state machine that could."""
