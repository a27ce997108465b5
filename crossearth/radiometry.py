"""Pixel values of files as unit-range floats, the only scale that models see."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from crossearth.errors import ConfigError

__all__ = ['to_unit']

_FULL_SCALE = {torch.uint8: 255.0, torch.uint16: 65535.0, torch.int16: 32767.0}


def to_unit(
    image: Shaped[Tensor, '*batch c h w'], *, value_range: tuple[float, float] | None = None
) -> Float[Tensor, '*batch c h w']:
    """Pixels as float32 in [0, 1].

    Integers are divided by the largest value of their type, floats are taken to be in [0, 1]
    already, unless `value_range` says what black and white are: 11-bit imagery in a uint16 file
    is far too dark otherwise. Values outside the range are clipped; NaN, the nodata of float
    files, becomes 0.

    Args:
        image: Pixels as a file holds them, any number of bands.
        value_range: Values that become 0 and 1.

    Returns:
        A new tensor of the same shape.

    Raises:
        ConfigError: If the range is empty, or the type has no full scale and no range is given.

    Example:
        >>> to_unit(torch.tensor([[[0, 51, 255]]], dtype=torch.uint8)).tolist()
        [[[0.0, 0.2..., 1.0]]]
        >>> to_unit(torch.tensor([[[float('nan'), 3000.0]]]), value_range=(0, 4000)).tolist()
        [[[0.0, 0.75]]]
    """
    if value_range is not None:
        low, high = value_range
        if not high > low:
            raise ConfigError(f'value_range is {value_range}: the second value must be the larger')
    elif image.dtype.is_floating_point:
        low, high = 0.0, 1.0
    elif image.dtype in _FULL_SCALE:
        low, high = 0.0, _FULL_SCALE[image.dtype]
    else:
        raise ConfigError(
            f'pixels of type {image.dtype} have no usual full scale: pass '
            'value_range=(black, white)'
        )
    unit = image.to(torch.float32)
    if (low, high) != (0.0, 1.0):
        unit = (unit - low) / (high - low)
    return torch.nan_to_num(unit, nan=0.0).clamp(0.0, 1.0)
