"""Errors of the library: each says what was got, what was expected and what to do.

Every error is also the builtin that a caller would expect (a `ShapeError` is a `ValueError`), so
code that knows nothing of this library still catches it.
"""

__all__ = [
    'BandError',
    'CheckpointError',
    'ConfigError',
    'CrossEarthError',
    'LabelError',
    'SceneError',
    'SceneNotFoundError',
    'ShapeError',
    'UnknownLabelWarning',
    'WindowError',
    'WriteError',
]


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
    """A weights file is damaged, of another format, or belongs to another model."""


class WriteError(CrossEarthError, OSError):
    """A file cannot be written: the disk is full, or the folder is not writable."""


class ConfigError(CrossEarthError, ValueError):
    """An argument, alone or together with others, has no meaning."""


class UnknownLabelWarning(UserWarning):
    """A mask holds colours that no class has; their pixels are ignored, and counted."""
