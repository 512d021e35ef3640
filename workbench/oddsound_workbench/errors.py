"""Errors of the workbench; the errors of the library are in `oddsound.errors`."""


class FolderError(Exception):
    """A folder, file or pattern does not give what the command needs."""
