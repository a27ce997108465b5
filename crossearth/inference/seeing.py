"""Decides on which grids a model sees a scene, and tells why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossearth.errors import ConfigError
from crossearth.imagery import Imagery
from crossearth.inference.request import AssumedGsd, GsdChoice, GsdEstimator, View
from crossearth.inference.scene import describe_scene
from crossearth.rasters import Raster, resampled, scaled

__all__ = ['Seeing', 'see_raster', 'see_scene']

_AGREES = 0.05  # stated sizes are rounded
_MUCH_COARSER = 2


@dataclass(frozen=True, slots=True)
class Seeing:
    """A scene as a model sees it.

    Args:
        native: The scene on its own grid.
        seen: The scene as the model sees it at scale 1; `native` if those are its own pixels.
        grids: The scene as the model sees it at each scale; just `seen` for the single scale 1.
        scales: Scales of `grids`.
        own: How the size of the scene's own pixels is known.
        why: Why the model sees it at that size.
    """

    native: Raster
    seen: Raster
    grids: tuple[Raster, ...]
    scales: tuple[float | int, ...]
    own: str
    why: str

    @property
    def is_native(self) -> bool:
        """Whether the model sees the scene's own pixels, at one scale."""
        return len(self.grids) == 1 and self.grids[0] is self.native

    def __str__(self) -> str:
        """One line: the size of its own pixels, what the model sees, and why."""
        own_m, seen_m = self.native.mean_gsd_m(), self.seen.mean_gsd_m()
        own = 'own pixels of unknown size' if own_m is None else f'own pixels {own_m:.3g} m'
        seen = 'as they are' if self.seen is self.native or seen_m is None else f'at {seen_m:.3g} m'
        line = f'{own} ({self.own}), seen {seen}: {self.why}'
        if self.scales == (1,):
            return line
        return f'{line}; at scale{"s" * (len(self.scales) > 1)} ' + ', '.join(
            f'{scale:g}' for scale in self.scales
        )


def see_scene(
    source: str | Path, known: Imagery, view: View, *, scales: Sequence[float | int] = (1,)
) -> Seeing:
    """Open a scene and decide how a model sees it.

    Args:
        source: The scene.
        known: What the model was trained on.
        view: How to show the scene; open choices follow from `known`.
        scales: As in `Windows`.

    Raises:
        CrossEarthError: As in `predict_scene`.
    """
    own_m = view.scene_gsd_m
    raster = describe_scene(
        source,
        bands=known.bands if view.bands is None else view.bands,
        alpha=view.alpha,
        value_range=known.value_range if view.value_range is None else view.value_range,
        native_gsd_m=own_m if isinstance(own_m, int | float) else None,
    )
    if isinstance(own_m, AssumedGsd) and raster.gsd_m() is None:
        raster = replace(raster, pixel_m=own_m.gsd_m)
    if not isinstance(own_m, GsdEstimator) or raster.gsd_m() is not None:
        return see_raster(raster, known, view.gsd_m, scales=scales)
    estimated = own_m(raster)
    if estimated.gsd_m is None:
        raise ConfigError(
            f'{raster.path}: its pixel size cannot be estimated '
            f'({estimated.note}): pass it (--gsd METRES), or map its own pixels (--seen-at native)'
        )
    seeing = see_raster(replace(raster, pixel_m=estimated.gsd_m), known, view.gsd_m, scales=scales)
    how = 'estimated from its pixels'
    if estimated.low_m is not None and estimated.high_m is not None:
        how += f', probably {estimated.low_m:.3g} to {estimated.high_m:.3g} m'
    return replace(seeing, own=f'{how}; {estimated.note}' if estimated.note else how)


def see_raster(
    raster: Raster,
    known: Imagery,
    gsd_m: GsdChoice | None = None,
    *,
    scales: Sequence[float | int] = (1,),
) -> Seeing:
    """Decide how a model sees a raster.

    Args:
        raster: The scene on its own grid.
        known: What the model was trained on.
        gsd_m: As in `View`.
        scales: As in `Windows`.

    Raises:
        ConfigError: If the model's distance is known and the scene's is not, or the scene cannot
            be resampled.
    """
    if gsd_m == 'native':
        seen, why = raster, 'as asked'
    elif gsd_m is not None:
        seen, why = resampled(raster, gsd_m), 'as asked'
    else:
        seen, why = _as_learnt(raster, known)
    grids = tuple(_at_scale(seen, scale) for scale in scales)
    return Seeing(raster, seen, grids, tuple(scales), _origin(raster), why)


def _origin(raster: Raster) -> str:
    """Where the size of the pixels is known from, or why it is not."""
    if raster.pixel_m is not None:
        own_m = replace(raster, pixel_m=None).mean_gsd_m()
        if own_m is None or abs(raster.pixel_m / own_m - 1) <= _AGREES:
            return 'stated'
        return f'stated, although the georeference says {own_m:.3g} m'
    if raster.gsd_m() is not None:
        return 'georeference'
    if raster.georeference.tie is None:
        lacks_crs = raster.georeference.has_transform
        return 'its transform has no CRS' if lacks_crs else 'nothing ties them to the ground'
    if raster.georeference.tie == 'gcps':
        return 'its ground control points do not place it on the globe'
    return 'the georeference has no place on the globe'


def _as_learnt(raster: Raster, known: Imagery) -> tuple[Raster, str]:
    """A raster at the pixel size of training, and why that size was chosen."""
    try:
        chosen_m = known.gsd_for(raster.gsd_m())
    except ConfigError as error:
        place = raster.georeference
        says = place.tie is not None or place.has_transform
        reason = f' ({_origin(raster)})' if says else ''
        raise ConfigError(f'{raster.path}{reason}: {error}') from error
    why = _reason(known, chosen_m, raster.mean_gsd_m())
    if chosen_m is None:
        return raster, why
    try:
        return resampled(raster, chosen_m), why
    except ConfigError as error:
        raise ConfigError(
            f'{error}. The model should see it at {chosen_m:.3g} m: {why}. Set its own pixel size '
            'with --gsd, choose another one with --seen-at, or map its own pixels with --seen-at '
            'native'
        ) from error


def _at_scale(seen: Raster, scale: float) -> Raster:
    """A raster with its number of rows and columns multiplied by a scale."""
    if scale == 1:
        return seen
    if seen.native is None:
        return scaled(seen, 1 / scale)
    # from the file, not from the resampled raster, so that pixels are resampled only once
    if seen.steps_px is not None:
        down, across = seen.steps_px
        return scaled(seen.native, (down / scale, across / scale))
    assert seen.pixel_m is not None
    return resampled(seen.native, seen.pixel_m / scale)


def _reason(known: Imagery, chosen_m: float | None, own_m: float | None) -> str:
    if known.gsd_range_m is not None:
        low, high = known.gsd_range_m
        across = f'the {low:.3g} to {high:.3g} m that the model was trained across'
        why = f'{"the middle of" if chosen_m == known.middle_gsd_m else "within"} {across}'
    elif known.gsd_m is not None:
        high = known.gsd_m
        why = f'the model was trained at {high:.3g} m'
    else:
        return 'what the model was trained at is not known'
    if own_m is not None and own_m > _MUCH_COARSER * high:
        why += (
            f'. Its pixels are {own_m / high:.2g} times as large as any in training, so what the '
            'model looks for may not show in them'
        )
    return why
