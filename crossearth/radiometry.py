"""Scales images to [0, 1], the value range that every augmentation and model here takes."""

import torch
from jaxtyping import Float32, Num
from torch import Tensor

from crossearth.errors import ConfigError

__all__ = ['to_unit']

_SLACK = 1e-3  # bicubic or JPEG rounding can push values this far outside [0, 1]


def to_unit(
    image: Num[Tensor, '...'],
    *,
    value_range: tuple[float, float] | None = None,
    out: Float32[Tensor, '...'] | None = None,
) -> Float32[Tensor, '...']:
    """An image as float32 in [0, 1], whatever its file's type.

    Args:
        image: Any shape, integer or float.
        value_range: Values that become 0 and 1; what lies outside is clamped. None takes the range
            of an integer type, 0 to its largest value (negative values of signed types become 0,
            so that 0 stays 0), and expects floats to lie in [0, 1] already, up to 0.001.
        out: Receives the result; None for a new tensor.

    Returns:
        A tensor of the same shape in [0, 1]. NaN, the usual nodata of float rasters, becomes 0.

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
    # Wider types lose digits in float32 before they are scaled.
    narrow = image.dtype.itemsize <= 2 or image.dtype == torch.float32
    if out is None:
        out = torch.empty(image.shape, dtype=torch.float32, device=image.device)
    values = out.copy_(image) if narrow else image.to(torch.float64, copy=True)
    if value_range is not None:
        low, high = value_range
        values.sub_(low).div_(high - low)
    elif image.dtype.is_floating_point:
        _require_unit(values)
    elif image.dtype != torch.bool:
        values.div_(torch.iinfo(image.dtype).max)
    if image.dtype.is_floating_point:
        values.nan_to_num_(nan=0.0)
    if value_range is not None or image.dtype.is_signed:
        values.clamp_(0, 1)
    return values if narrow else out.copy_(values)


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
