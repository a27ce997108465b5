"""Estimates the ground sampling distance of a scene, from views of it at several sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.imagery import imagery_of
from crossearth.rasters import describe_raster
from crossearth.resolution.blocks import read_blocks
from crossearth.resolution.network import GsdNetwork
from crossearth.resolution.views import FACTORS, centre, filled, resized, tells_something

__all__ = [
    'GsdEstimate',
    'estimate_gsd',
    'interval_of',
    'octaves_of_block',
    'settled',
    'views_of',
]

_SEEN_PX = 512  # longest side of what the network sees
_FEW_PX = 256  # smaller scenes show too little for the interval, which was measured on larger ones


@dataclass(frozen=True, slots=True)
class GsdEstimate:
    """The ground sampling distance of a scene, estimated from its pixels.

    Args:
        gsd_m: Metres; None if it cannot be estimated.
        low_m: Lower end, in metres, of the interval that contains nine of ten held-out images.
        high_m: Upper end of that interval.
        windows: Number of blocks that contributed.
        note: Why there is no estimate, or a warning about it; empty otherwise.
    """

    gsd_m: float | None
    low_m: float | None
    high_m: float | None
    windows: int
    note: str


def estimate_gsd(
    network: GsdNetwork,
    scene: str | Path,
    *,
    bands: Sequence[int] | Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
    max_windows: int = 16,
    seed: int = 0,
) -> GsdEstimate:
    """Estimate the ground sampling distance of a scene, whatever its header says.

    Blocks of the scene are seen with pixels once, twice and four times as large. A view counts if
    the network's answer for it lies within the range that the network was fitted on. The result is
    the median over the views of a block, and then over blocks.

    Args:
        network: A fitted network, see `load_gsd_estimator`.
        scene: Anything that GDAL opens.
        bands: Bands of the scene, whose mean is seen; None for all but an alpha band.
        value_range: Values of black and white; None for those that the network was fitted with.
        max_windows: Maximum number of blocks of 2048 px to read.
        seed: Seed for the choice of blocks.

    Raises:
        ConfigError: If the network was not fitted, or `max_windows` is below 1.
        CrossEarthError: As in `describe_raster`.
    """
    known = imagery_of(network)
    if known.gsd_range_m is None:
        raise ConfigError('the network is not fitted: pass one from fit_gsd_estimator')
    if max_windows < 1:
        raise ConfigError(f'max_windows is {max_windows}: expected at least 1')
    raster = describe_raster(
        scene,
        bands=bands,
        value_range=known.value_range if value_range is None else value_range,
    )
    octaves = [
        octaves_of_block([network.octaves(seen) for seen in views], factors, known.gsd_range_m)
        for image, valid in read_blocks(raster, most=max_windows, seed=seed)
        for factors, views in [views_of(network, image, valid)]
        if views
    ]
    estimate = settled(
        octaves,
        known.gsd_range_m,
        (float(network.error_octaves[0]), float(network.error_octaves[1])),
        held_out_domains=int(network.held_out_domains),
    )
    if estimate.gsd_m is None or estimate.note or min(raster.height, raster.width) >= _FEW_PX:
        return estimate
    small = f'{raster.height} x {raster.width} px show little: the interval is too narrow'
    return replace(estimate, note=small)


def views_of(
    network: GsdNetwork, image: Float[Tensor, 'c h w'], valid: Bool[Tensor, 'h w']
) -> tuple[list[int], list[Float[Tensor, '1 d']]]:
    """Features of a block at each usable size, with the factor by which it was shrunk.

    Args:
        network: Network that computes the features.
        image: Values in [0, 1].
        valid: True where a pixel has data.
    """
    factors, features = [], []
    for factor in FACTORS:
        part = centre(image, _SEEN_PX * factor)
        whole = filled(part, centre(valid[None], _SEEN_PX * factor)[0])
        if whole is None:
            continue
        view = resized(whole, factor)
        if tells_something(view):
            factors.append(factor)
            features.append(network.features(view[None]))
    return factors, features


def octaves_of_block(
    views: Sequence[Float[Tensor, ' 1']],
    factors: Sequence[int],
    gsd_range_m: tuple[float, float],
) -> float:
    """log2 of a block's pixel size in metres: the median over its views.

    Views whose answer lies outside the range do not count, because the network was not fitted on
    such images.

    Returns:
        The median; infinity if the block's own pixels are coarser than the range, minus infinity if
        all views are finer than it.

    Example:
        >>> views = [torch.tensor([1.0]), torch.tensor([1.5])]
        >>> octaves_of_block(views, [1, 2], (0.5, 4.0))
        0.75
    """
    low, high = (math.log2(end) for end in gsd_range_m)
    answers = [float(view) for view in views]
    said = [
        answer - math.log2(factor)
        for answer, factor in zip(answers, factors, strict=True)
        if low <= answer <= high
    ]
    if said:
        return median(said)
    # If even the view with the finest pixels looks too coarse, the scene is.
    return math.inf if answers[0] > high else -math.inf


def settled(
    octaves: Sequence[float],
    gsd_range_m: tuple[float, float],
    error_octaves: tuple[float, float],
    *,
    held_out_domains: int,
) -> GsdEstimate:
    """One answer from all blocks with an interval, or the reason why there is none.

    Args:
        octaves: One value per block, see `octaves_of_block`.
        gsd_range_m: Finest and coarsest distance that the network was fitted on, in metres.
        error_octaves: Ends of the interval relative to the estimate, in octaves.
        held_out_domains: As in `GsdNetwork`.
    """
    if not octaves:
        note = 'no usable block: too small, without data, or of little contrast (see --value-range)'
        return GsdEstimate(None, None, None, 0, note)
    # The mean of two infinities may be NaN, so an even number takes the upper of the middle two.
    middle = median(octaves) if len(octaves) % 2 else sorted(octaves)[len(octaves) // 2]
    if math.isinf(middle):
        low, high = gsd_range_m
        end = f'coarser than {high:.3g} m' if middle > 0 else f'finer than {low:.3g} m'
        return GsdEstimate(
            None, None, None, len(octaves), f'{end}, outside the range of the estimator'
        )
    note = '' if held_out_domains else 'the interval is too narrow for places that were not fitted'
    low, high = (2 ** (middle + error) for error in error_octaves)
    return GsdEstimate(2**middle, low, high, len(octaves), note)


def interval_of(errors: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """The 5 % and 95 % quantiles of weighted errors.

    Example:
        >>> interval_of([2.0, -1.0, 0.0], [0.02, 0.08, 0.9])
        (-1.0, 0.0)
    """
    values, order = torch.tensor(errors, dtype=torch.float64).sort()
    share = torch.tensor(weights, dtype=torch.float64)[order].cumsum(0)
    # The divisor is part of what is divided in place.
    share /= share[-1].clone()
    low = int((share >= 0.05).nonzero()[0])
    high = int((share >= 0.95).nonzero()[0])
    return float(values[low]), float(values[high])
