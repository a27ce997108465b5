"""torchgeo's models and published weights; no other file imports torchgeo.

torchgeo imports rasterio and geopandas and takes seconds to import, so it is imported only when one
of its models or weights is asked for.
"""

import re
from typing import Any

from torch import Tensor

from crossearth.errors import CheckpointError, ConfigError

__all__ = ['fetch_weights', 'find_weights', 'is_weights_name', 'torchgeo_models']

_NAME = re.compile(r'(\w+_Weights)\.(\w+)')


def torchgeo_models() -> Any:
    """The module `torchgeo.models`."""
    import torchgeo.models

    return torchgeo.models


def is_weights_name(pretrained: object) -> bool:
    """Whether a value reads as a member of one of torchgeo's enums rather than as a path.

    Example:
        >>> is_weights_name('DOFABase16_Weights.DOFA_MAE'), is_weights_name('dofa_base.pth')
        (True, False)
    """
    return isinstance(pretrained, str) and _NAME.fullmatch(pretrained) is not None


def find_weights(name: str, *, bands: int | None = None) -> Any:
    """The member of torchgeo's enums of published weights with this name.

    The name is looked up in torchgeo's own list, and nothing is imported for it.

    Args:
        name: Enum and member, such as `'ViTSmall16_Weights.SENTINEL2_ALL_DINO'`.
        bands: Number of bands of the images. It must be the number that the weights were trained
            on, if torchgeo states that; None checks nothing.

    Returns:
        The member, with `meta`, `url` and `get_state_dict`.

    Raises:
        ConfigError: If torchgeo has no such weights, or they are for another number of bands.
    """
    found = _NAME.fullmatch(name)
    library = torchgeo_models()
    enums = [entry for entry in library.__all__ if entry.endswith('_Weights')]
    if found is None or found[1] not in enums:
        raise ConfigError(
            f'torchgeo has no weights {name!r}: expected a member of one of {", ".join(enums)}'
        )
    members = getattr(library, found[1]).__members__
    if found[2] not in members:
        raise ConfigError(
            f'torchgeo has no weights {name!r}: {found[1]} has {", ".join(members) or "none"}'
        )
    weights = members[found[2]]
    trained_on = weights.meta.get('in_chans')
    if bands is not None and trained_on is not None and bands != trained_on:
        names = ', '.join(map(str, weights.meta.get('bands', ()))) or 'names unknown'
        raise ConfigError(
            f'{name} are weights for {trained_on} bands ({names}), got {bands}: use images of '
            'those bands in that order, or choose other weights'
        )
    return weights


def fetch_weights(weights: Any) -> dict[str, Any]:
    """What torchgeo publishes for a member of its enums, downloaded once into torch's cache.

    Args:
        weights: Result of `find_weights`.

    Returns:
        Name → tensor, or name → part of the model → tensor for CROMA. Read without unpickling.

    Raises:
        CheckpointError: If it is not in the cache and cannot be downloaded.
    """
    try:
        state: dict[str, Any] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except OSError as error:  # urllib's connection errors are OSErrors
        raise CheckpointError(
            f'the weights {weights} are not in the local cache and cannot be downloaded: fetch '
            f"{weights.url} on a machine with network access, and pass the file's path as "
            "pretrained='…'"
        ) from error
    assert all(isinstance(value, Tensor | dict) for value in state.values())
    return state
