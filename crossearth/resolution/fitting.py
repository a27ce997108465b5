"""Fits the estimator of ground sampling distance on images of known distance, shrunk and blurred.

No labels are needed. Each domain (a folder of one sensor and place) has the same weight. The
interval is measured on held-out data. With three or more domains, each domain is held out in turn.
Otherwise images of the same domains are held out, which makes the interval too narrow for other
places.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.errors import ConfigError, SceneError
from crossearth.imagery import Imagery
from crossearth.rasters import describe_raster
from crossearth.resolution.blocks import read_blocks
from crossearth.resolution.estimate import interval_of, octaves_of_block, views_of
from crossearth.resolution.network import GsdNetwork
from crossearth.resolution.views import as_sensor, filled, resized, tells_something

__all__ = ['FitReport', 'KnownScene', 'fit_gsd_estimator']

_VIEWS = 8  # views of each block to learn from
_SIDE_PX = 256  # longest side of a view
_SMALLEST_PX = 80  # shortest side of a block that was shrunk
_FINEST = 0.5  # blocks are enlarged down to this fraction of their pixel size
_RIDGE = 0.1  # relative to features of unit variance and sample weights that sum to 1
_LEAST_SCALE = 1e-3
_FOLDS = 5
_LEAST_BLOCKS = 10
_DOMAINS_TO_HOLD_OUT = 3


@dataclass(frozen=True, slots=True)
class KnownScene:
    """A scene to learn from.

    Args:
        path: Anything that GDAL opens.
        gsd_m: Its ground sampling distance in metres; None to use its georeference.
    """

    path: str
    gsd_m: float | None = None


@dataclass(frozen=True, slots=True)
class DomainReport:
    """How well a head predicts a domain that it was not fitted on, or held-out images of it.

    Args:
        name: Name of the domain.
        blocks: Number of images, or of blocks of large images.
        bias_octaves: Median of estimate minus truth, in octaves; NaN if nothing could be estimated.
        error_octaves: Median of the absolute error, in octaves.
        within_half: Share of blocks with an error of at most half an octave, a factor of 1.41.
    """

    name: str
    blocks: int
    bias_octaves: float
    error_octaves: float
    within_half: float


@dataclass(frozen=True, slots=True)
class FitReport:
    """The result of fitting.

    Args:
        gsd_range_m: Finest and coarsest distance in the data, in metres.
        held_out: What was held out to measure the error.
        low_octaves: 5 % quantile of truth minus estimate, in octaves.
        high_octaves: 95 % quantile, in octaves.
        domains: Report on each domain.
    """

    gsd_range_m: tuple[float, float]
    held_out: str
    low_octaves: float
    high_octaves: float
    domains: tuple[DomainReport, ...]

    def __str__(self) -> str:
        wide = max(24, *(len(one.name) + 1 for one in self.domains))
        lines = [
            f'fitted from {self.gsd_range_m[0]:.3g} to {self.gsd_range_m[1]:.3g} m; 9 of 10 true '
            f'distances are {2**self.low_octaves:.2f} to {2**self.high_octaves:.2f} times the '
            f'estimate, measured on {self.held_out} that were held out',
            f'{"domain":{wide}}{"blocks":>8}{"bias":>8}{"error":>8}{"in 1/2":>8}   (octaves)',
        ]
        lines += [
            f'{one.name:{wide}}{one.blocks:8}{one.bias_octaves:+8.2f}{one.error_octaves:8.2f}'
            f'{one.within_half:8.0%}'
            for one in self.domains
        ]
        return '\n'.join(lines)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Features of a block: random views to learn from, and the views that an estimate would use."""

    octaves: float
    drawn: Float[Tensor, 'v d']
    truth: Float[Tensor, ' v']
    factors: list[int]
    views: list[Float[Tensor, '1 d']]


def fit_gsd_estimator(
    network: GsdNetwork,
    domains: Mapping[str, Sequence[KnownScene]],
    *,
    bands: Sequence[int] | None = None,
    value_range: tuple[float, float] | None = None,
    max_blocks: int = 64,
    seed: int = 0,
) -> FitReport:
    """Fit the head of a network in place, and measure its error on held-out data.

    Args:
        network: Built by `gsd_network`, best with pretrained weights; random ones perform worse.
        domains: Scenes of each domain.
        bands: Bands of the scenes, counted from 1, whose mean is seen; None for all but an alpha
            band.
        value_range: Values of black and white; None for those of the data type.
        max_blocks: Maximum number of images, or of blocks of large ones, per domain.
        seed: Seed for the choice of blocks and views.

    Raises:
        ConfigError: If a scene's distance is unknown or not positive, or `max_blocks` is below 1.
        SceneError: If a domain has no usable block, or all domains together have fewer than 10.
    """
    if not domains:
        raise ConfigError('there are no domains: pass at least one, with scenes of known distance')
    if max_blocks < 1:
        raise ConfigError(f'max_blocks is {max_blocks} (--max-windows): expected at least 1')
    draws = torch.Generator().manual_seed(seed)
    seen: dict[str, list[_Seen]] = {}
    for name, scenes in domains.items():
        seen[name] = []
        for gsd_m, image, valid in _blocks(scenes, bands, value_range, max_blocks, seed):
            whole = filled(image, valid)
            if whole is not None and tells_something(whole):
                seen[name].append(_seen(network, image, valid, gsd_m, draws))
        if not seen[name]:
            raise SceneError(
                f'{name}: none of its images is usable, because they are too small, empty, or of '
                'little contrast: pass others, or the values that become 0 and 1 (--value-range)'
            )
    if sum(map(len, seen.values())) < _LEAST_BLOCKS:
        raise SceneError(
            f'{sum(map(len, seen.values()))} blocks of images are usable: expected at least '
            f'{_LEAST_BLOCKS}, of up to {max_blocks} per domain (--max-windows)'
        )
    gsd_range_m = _range(seen)
    errors = _held_out_errors(network, seen)
    told = {name: [e for e in found if math.isfinite(e)] for name, found in errors.items()}
    flat = [(e, 1 / len(found)) for found in told.values() for e in found]
    if not flat:
        raise SceneError(
            'no held-out image could be estimated: pass more images, of more distances'
        )
    low, high = interval_of(*map(list, zip(*flat, strict=True)))
    low, high = min(low, 0.0), max(high, 0.0)  # with the estimate inside
    # After the errors, whose measurement has left the head of another fit.
    _fit(network, seen)
    by_domains = len(seen) >= _DOMAINS_TO_HOLD_OUT
    network.error_octaves.copy_(torch.tensor([low, high]))
    network.held_out_domains.fill_(len(seen) if by_domains else 0)
    # setattr, because torch's types only allow tensors and modules
    setattr(  # noqa: B010
        network,
        'imagery',
        Imagery(value_range=value_range, gsd_range_m=gsd_range_m),
    )
    held_out = f'{len(seen)} domains' if by_domains else 'images of the same domains'
    reports = tuple(_report(name, found) for name, found in errors.items())
    return FitReport(gsd_range_m, held_out, low, high, reports)


def _blocks(
    scenes: Sequence[KnownScene],
    bands: Sequence[int] | None,
    value_range: tuple[float, float] | None,
    most: int,
    seed: int,
) -> Iterator[tuple[float, Float[Tensor, 'c h w'], Bool[Tensor, 'h w']]]:
    """Pixel size, values and validity of blocks spread over the scenes of a domain."""
    count = min(len(scenes), most)
    for index in range(count):
        scene = scenes[index * len(scenes) // count]
        raster = describe_raster(scene.path, bands=bands, value_range=value_range)
        gsd_m = raster.mean_gsd_m() if scene.gsd_m is None else scene.gsd_m
        if gsd_m is None or not 0 < gsd_m < math.inf:
            raise ConfigError(
                f'{raster.path}: the ground sampling distance is {gsd_m}, expected metres above 0: '
                'for images without a georeference, pass KnownScene(path, gsd_m), or '
                'FOLDER=METRES'
            )
        for image, valid in read_blocks(raster, most=max(most // count, 1), seed=seed):
            yield gsd_m, image, valid


def _seen(
    network: GsdNetwork,
    image: Float[Tensor, 'c h w'],
    valid: Bool[Tensor, 'h w'],
    gsd_m: float,
    draws: torch.Generator,
) -> _Seen:
    whole = filled(image, valid)
    assert whole is not None
    side = min(whole.shape[1:])
    low, high = math.log2(_FINEST), max(math.log2(side / _SMALLEST_PX), 0.0)
    drawn, truth = [], []
    for view in range(_VIEWS):
        chance, across, down = torch.rand(3, generator=draws).tolist()
        # One draw in each part of the range, so that few views cover all of it.
        octave = low + (high - low) * (view + chance) / _VIEWS
        taken = min(side, round(_SIDE_PX * 2**octave))
        top = int(down * (whole.shape[1] - taken + 1))
        left = int(across * (whole.shape[2] - taken + 1))
        part = whole[:, top : top + taken, left : left + taken]
        drawn.append(network.features(as_sensor(resized(part, 2**octave), draws)[None]))
        truth.append(math.log2(gsd_m) + octave)
    factors, views = views_of(network, image, valid)
    return _Seen(math.log2(gsd_m), torch.cat(drawn), torch.tensor(truth), factors, views)


def _held_out_errors(
    network: GsdNetwork, seen: Mapping[str, list[_Seen]]
) -> dict[str, list[float]]:
    """Truth minus estimate of blocks that the head was not fitted on; infinite if out of range.

    Afterwards the network has the head of the last fit.
    """
    errors: dict[str, list[float]] = {name: [] for name in seen}
    if len(seen) >= _DOMAINS_TO_HOLD_OUT:
        parts = [
            ({n: b for n, b in seen.items() if n != name}, {name: blocks})
            for name, blocks in seen.items()
        ]
    else:
        parts = [
            (
                {n: [x for i, x in enumerate(b) if i % _FOLDS != fold] for n, b in seen.items()},
                {n: [x for i, x in enumerate(b) if i % _FOLDS == fold] for n, b in seen.items()},
            )
            for fold in range(_FOLDS)
        ]
    for fitted, held_out in parts:
        _fit(network, fitted)
        # The range of all blocks would tell this head about those held out.
        gsd_range_m = _range(fitted)
        for name, blocks in held_out.items():
            for block in blocks:
                said = octaves_of_block(
                    [network.octaves(view) for view in block.views], block.factors, gsd_range_m
                )
                errors[name].append(block.octaves - said)
    return errors


def _range(seen: Mapping[str, list[_Seen]]) -> tuple[float, float]:
    """Finest and coarsest pixel size of the views that a head is fitted on, in metres."""
    every = torch.cat([block.truth for blocks in seen.values() for block in blocks])
    return 2 ** float(every.min()), 2 ** float(every.max())


def _fit(network: GsdNetwork, seen: Mapping[str, list[_Seen]]) -> None:
    """Fit the head by ridge regression, with the same weight for each domain."""
    features, truth, weights, within = [], [], [], []
    for blocks in seen.values():
        count = sum(len(block.truth) for block in blocks)
        for block in blocks:
            features.append(block.drawn)
            truth.append(block.truth)
            weights.append(torch.full((len(block.truth),), 1 / (count * len(seen))))
            within.append(block.drawn - block.drawn.mean(0))
    x, y, w = torch.cat(features), torch.cat(truth).double(), torch.cat(weights).double()
    centre = (w[:, None] * x.double()).sum(0)
    network.centre.copy_(centre)
    # Spread between the views of one block, because that between blocks is content. A feature
    # that never varies must not divide by 0.
    network.scale.copy_(torch.cat(within).double().std(0) + _LEAST_SCALE)
    seen_x = network.standardised(x).double()
    mean_x, mean_y = (w[:, None] * seen_x).sum(0), (w * y).sum()
    # Centred, so that the ridge does not shrink the intercept.
    seen_x, y = seen_x - mean_x, y - mean_y
    gram = seen_x.T @ (w[:, None] * seen_x) + _RIDGE * torch.eye(x.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(gram, seen_x.T @ (w * y))
    network.weight.copy_(weight)
    network.bias.copy_(mean_y - mean_x @ weight)


def _report(name: str, errors: Sequence[float]) -> DomainReport:
    told = [-error for error in errors if math.isfinite(error)]
    middle, size = (median(told), median(map(abs, told))) if told else (math.nan, math.nan)
    within = sum(abs(error) <= 0.5 for error in told) / len(errors)
    return DomainReport(name, len(errors), middle, size, within)
