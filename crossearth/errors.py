"""Errors of the library: each says what was got, what was expected and what to do.

Every error is also the builtin that a caller would expect (a `ShapeError` is a `ValueError`), so
code that knows nothing of this library still catches it.
"""

__all__ = [
    'BandError',
    'BusyError',
    'CheckpointError',
    'ConfigError',
    'CrossEarthError',
    'DamagedCheckpointWarning',
    'DataWarning',
    'LabelError',
    'SceneError',
    'SceneNotFoundError',
    'ShapeError',
    'UnknownLabelWarning',
    'WindowError',
    'WriteError',
    'printable',
]

_LONGEST = 1000  # a name in a file can fill a terminal


def printable(text: str) -> str:
    r"""Text from a file, made safe to print: control characters are shown as their codes.

    Args:
        text: Such as the name of a tensor, which can hold commands to a terminal.

    Returns:
        It in one line, cut in the middle to about 1,000 characters.

    Example:
        >>> printable('a\x1b[2Jb')
        'a\\x1b[2Jb'
    """
    if len(text) > _LONGEST:
        text = f'{text[: _LONGEST * 2 // 3]} … {text[-_LONGEST // 3 :]}'
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


class CrossEarthError(Exception):
    """Any error that this library raises on purpose; the command line prints it as one line."""


class ShapeError(CrossEarthError, ValueError):
    """A tensor, array or model output has another shape than the operation needs."""


class BandError(CrossEarthError, ValueError):
    """The bands of an image are not the ones that were asked for, or that a model takes."""


class LabelError(CrossEarthError, ValueError):
    """A mask holds labels that its label space does not know, or does not fit its image."""


class SceneError(CrossEarthError, ValueError):
    """A file is not a readable raster, or is damaged."""


class SceneNotFoundError(CrossEarthError, FileNotFoundError):
    """A scene, a folder of scenes or a mask is not there."""


class WindowError(CrossEarthError, IndexError):
    """A window or a geographic slice lies outside the scenes, or is larger than one."""


class CheckpointError(CrossEarthError, ValueError):
    """A weights file is damaged, of another format, or belongs to another model.

    The message can quote the file, which is not trusted: it is made `printable`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class WriteError(CrossEarthError, OSError):
    """A file cannot be written: the disk is full, or the folder is not writable."""


class BusyError(CrossEarthError, BlockingIOError):
    """Another process is writing the same file."""


class ConfigError(CrossEarthError, ValueError):
    """An argument, alone or together with others, has no meaning."""


class UnknownLabelWarning(UserWarning):
    """A mask holds colours that no class has; their pixels are ignored, and counted."""


class DataWarning(UserWarning):
    """Training or validation data show less than they seem to, such as no pixel of a class."""


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint is damaged or missing; training resumes from the one before it."""
