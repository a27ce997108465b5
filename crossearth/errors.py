"""Errors of the library. Each says what was got, what was expected and what to do.

Every error also inherits the builtin that a caller would expect (a `ShapeError` is a `ValueError`),
so code that does not know this library can still catch it.
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

_LONGEST = 1000  # longer names would fill a terminal


def printable(text: str) -> str:
    r"""Text from an untrusted file, made safe to print by escaping control characters.

    Args:
        text: For example a tensor name, which can contain terminal commands.

    Returns:
        One line, shortened in the middle to about 1,000 characters.

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
    """A tensor, array or model output does not have the shape that the operation needs."""


class BandError(CrossEarthError, ValueError):
    """The bands of an image are not those that were requested, or that a model takes."""


class LabelError(CrossEarthError, ValueError):
    """A mask holds labels that its label space does not know, or does not match its image."""


class SceneError(CrossEarthError, ValueError):
    """A file is not a readable raster, or is damaged."""


class SceneNotFoundError(CrossEarthError, FileNotFoundError):
    """A scene, a folder of scenes or a mask does not exist."""


class WindowError(CrossEarthError, IndexError):
    """A window or a geographic slice lies outside the scenes, or is larger than a scene."""


class CheckpointError(CrossEarthError, ValueError):
    """A weights file is damaged, has another format, or belongs to another model.

    The message may quote the file, which is not trusted, so it is made `printable`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class WriteError(CrossEarthError, OSError):
    """A file cannot be written: the disk is full, or the folder is not writable."""


class BusyError(CrossEarthError, BlockingIOError):
    """Another process is writing the same file."""


class ConfigError(CrossEarthError, ValueError):
    """An argument, or a combination of arguments, does not make sense."""


class UnknownLabelWarning(UserWarning):
    """A mask holds colours that belong to no class; their pixels are ignored, and counted."""


class DataWarning(UserWarning):
    """Training or validation data hold less than they seem to, such as no pixel of a class."""


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint is damaged or missing; training resumes from the one before it."""
