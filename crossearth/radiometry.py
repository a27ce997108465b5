"""The value range that every augmentation and model of this library takes."""

import torch
from jaxtyping import Float32, Num
from torch import Tensor

from crossearth.errors import ConfigError

__all__ = ['to_unit']

_SLACK = (
    1e-3  # what bicubic or JPEG rounding leaves outside a float image that is meant to be [0, 1]
)


def to_unit(
    image: Num[Tensor, '...'], *, value_range: tuple[float, float] | None = None
) -> Float32[Tensor, '...']:
    """An image as float32 in [0, 1], whatever its file's type.

    Args:
        image: Any shape, integer or float.
        value_range: Values that become 0 and 1; what lies outside is clamped. None takes the range
            of an integer type, 0 to its largest value (negative values of signed types become 0,
            so that 0 stays 0), and expects floats to lie in [0, 1] already.

    Returns:
        A new tensor of the same shape in [0, 1]. NaN, the usual nodata of float rasters, becomes 0.

    Raises:
        ConfigError: If the range is empty, or a float image without one lies outside [0, 1].

    Example:
        >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
        >>> to_unit(torch.tensor([100.0, float('nan'), 300.0]), value_range=(100.0, 500.0))
        tensor([0.0000, 0.0000, 0.5000])
    """
    if value_range is not None and not value_range[0] < value_range[1]:
        raise ConfigError(
            f'value_range={value_range} is empty: give the value that becomes 0, then a larger one '
            'that becomes 1'
        )
    if image.dtype == torch.bool:
        return image.to(torch.float32)
    wide = torch.float64 if image.dtype.itemsize > 2 else torch.float32
    if image.dtype == torch.float32:
        wide = torch.float32
    values = image.to(wide)
    if value_range is not None:
        low, high = value_range
        values = (values - low) / (high - low)
    elif image.dtype.is_floating_point:
        _require_unit(values)
    else:
        values = values / torch.iinfo(image.dtype).max
    return values.nan_to_num(nan=0.0).clamp(0, 1).to(torch.float32)


def _require_unit(values: Tensor) -> None:
    known = values[~values.isnan()]
    if not known.numel():
        return
    low, high = float(known.min()), float(known.max())
    if low < -_SLACK or high > 1 + _SLACK:
        raise ConfigError(
            f'a float image holds values from {low:g} to {high:g}, expected [0, 1]: pass '
            'value_range=(low, high), the values that black and white have in its file'
        )
