"""Checks of wavelengths and bandwidths for encoders that read any optical band."""

import math
from collections.abc import Sequence

from crossearth.errors import ConfigError

__all__ = ['check_bandwidths', 'check_wavelengths']

_OPTICAL_UM = (0.2, 20.0)  # from the ultraviolet to the thermal infrared


def check_wavelengths(
    wavelengths_um: Sequence[float] | None, *, encoder: str, bands: int | None = None
) -> tuple[float, ...]:
    """Check the central wavelengths of the bands.

    Args:
        wavelengths_um: One per band, in micrometres.
        encoder: Name of the encoder, for errors.
        bands: How many there must be; None for any number.

    Raises:
        ConfigError: If there are none or a wrong number of them, or one is not an optical
            wavelength in micrometres.

    Example:
        >>> check_wavelengths([0.842, 0.665, 0.56], encoder='dofa_base_patch16_224')
        (0.842, 0.665, 0.56)
    """
    if not wavelengths_um:
        raise ConfigError(
            f'{encoder} reads bands by their wavelengths, got none: pass wavelengths_um, the '
            'centre of each band in micrometres, such as (0.665, 0.56, 0.49) for R-G-B'
        )
    _check_count('wavelengths_um', wavelengths_um, bands)
    low, high = _OPTICAL_UM
    for wavelength in wavelengths_um:
        if not low <= wavelength <= high:
            raise ConfigError(
                f'wavelengths_um has {wavelength}, expected micrometres from {low} to {high}: '
                'divide nanometres by 1000; radar bands cannot be used here'
            )
    return tuple(float(wavelength) for wavelength in wavelengths_um)


def check_bandwidths(
    bandwidths_um: Sequence[float] | None, *, encoder: str, bands: int
) -> tuple[float, ...]:
    """Check the widths of the bands.

    Args:
        bandwidths_um: One per band, in micrometres.
        encoder: Name of the encoder, for errors.
        bands: How many there must be.

    Raises:
        ConfigError: If there are none, too many or too few, or one is not in micrometres.
    """
    if not bandwidths_um:
        raise ConfigError(
            f'{encoder} also needs the width of each band, got nothing: pass bandwidths_um, in '
            'micrometres, such as (0.031, 0.036, 0.066) for red, green and blue of Sentinel-2'
        )
    _check_count('bandwidths_um', bandwidths_um, bands)
    for bandwidth in bandwidths_um:
        if not (math.isfinite(bandwidth) and 0.001 <= bandwidth <= _OPTICAL_UM[1]):
            raise ConfigError(
                f'bandwidths_um has {bandwidth}, expected micrometres from 0.001 to '
                f'{_OPTICAL_UM[1]}: divide nanometres by 1000'
            )
    return tuple(float(bandwidth) for bandwidth in bandwidths_um)


def _check_count(name: str, values: Sequence[float], bands: int | None) -> None:
    if bands is not None and len(values) != bands:
        raise ConfigError(
            f'{name} has {len(values)} values for {bands} bands: pass one per band, in the order '
            'of the bands'
        )
