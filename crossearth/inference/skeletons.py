"""Thins a class of a map to its centre pixels, strip by strip."""

from typing import NamedTuple

import numpy as np
import rasterio
from jaxtyping import Bool, Float32, Int64, Shaped
from rasterio.errors import RasterioIOError
from scipy import ndimage

from crossearth.errors import ConfigError, SceneError

__all__ = ['Skeleton', 'skeleton_of']

_STRIP_PIXELS = 1 << 22
_MOST_PIXELS = 1 << 26  # of a window that is thinned at once, at about 30 bytes per pixel
_MOST_BONES = 20_000_000  # skeleton pixels, at about 200 bytes each including their graph
_HALO_PX = 64  # rows around a strip to begin with
_RIM_PX = 64  # rows and columns added around the map; the same for all strips


class Skeleton(NamedTuple):
    """Pixels in the middle of a class, row by row.

    Args:
        keys: Row times the width of the map, plus column.
        reach_px: Distance to the nearest pixel outside the class.
        owned: Number of class pixels that are closest to this one.
        confidence: Confidence at the pixel, from 0 to 1; NaN if unknown.
    """

    keys: Int64[np.ndarray, ' n']
    reach_px: Float32[np.ndarray, ' n']
    owned: Int64[np.ndarray, ' n']
    confidence: Float32[np.ndarray, ' n']


def skeleton_of(
    dataset: rasterio.DatasetReader, label: int, *, sure: rasterio.DatasetReader | None = None
) -> Skeleton:
    """Thin a class of a map to lines of one pixel.

    Each strip is thinned together with as many rows above and below as the width of the class
    needs, so strips do not affect the result. Beyond the edge of the map, the class is continued
    with its values at the edge, so that lines reach the edge.

    Args:
        dataset: The map.
        label: Class id.
        sure: Confidence, on the same grid; None if there is none.

    Raises:
        ConfigError: If scikit-image is not installed, or the class or the map is too wide, or the
            class is too long.
        SceneError: If rows cannot be read.

    Source:
        Zhang & Suen (1984), "A fast parallel algorithm for thinning digital patterns", as
        implemented in scikit-image.
    """
    rows = max(_STRIP_PIXELS // dataset.width // 64 * 64, 64)
    keys, reach, confidence, owners = [], [], [], []
    for first in range(0, dataset.height, rows):
        stop = min(first + rows, dataset.height)
        window = _window(dataset, label, first, stop)
        if window is None:
            continue
        here = window.skeleton[first - window.top : stop - window.top]
        row, col = np.nonzero(here)
        keys.append((row + first) * dataset.width + col)
        reach.append(window.reach_px[first - window.top : stop - window.top][here])
        confidence.append(_confidence(sure, first, stop, here))
        owners.append(_owners(window, first, stop, dataset.width))
        if sum(map(len, keys)) > _MOST_BONES:
            raise ConfigError(
                f'{dataset.name}: lines of class {label} have more than {_MOST_BONES:,} pixels, '
                'too many for memory: cut the map into parts (gdal_translate -srcwin), or '
                'sieve it first (crossearth sieve)'
            )
    if not keys:
        none = np.empty(0, np.float32)
        return Skeleton(np.empty(0, np.int64), none, np.empty(0, np.int64), none)
    all_keys = np.concatenate(keys)
    owned = np.zeros(len(all_keys), np.int64)
    for owner, count in owners:
        # keys are sorted, because strips and `np.nonzero` both go row by row
        at = np.searchsorted(all_keys, owner)
        known = at < len(all_keys)
        known[known] = all_keys[at[known]] == owner[known]
        owned[at[known]] += count[known]
    return Skeleton(all_keys, np.concatenate(reach), owned, np.concatenate(confidence))


class _Window(NamedTuple):
    """Rows of a map that were thinned together."""

    top: int
    of_class: Bool[np.ndarray, 'h w']
    skeleton: Bool[np.ndarray, 'h w']
    reach_px: Float32[np.ndarray, 'h w']


def _window(dataset: rasterio.DatasetReader, label: int, first: int, stop: int) -> _Window | None:
    """The thinned rows around some rows; None if the class does not occur in them."""
    halo = _HALO_PX
    while True:
        top, bottom = max(first - halo, 0), min(stop + halo, dataset.height)
        if (bottom - top) * dataset.width > _MOST_PIXELS:
            if halo == _HALO_PX:  # before anything was read
                raise ConfigError(
                    f'{dataset.name} has {dataset.width:,} columns, of which {bottom - top} rows '
                    'would have to be thinned at once, which needs too much memory: expected at '
                    f'most {_MOST_PIXELS // (bottom - top):,}, so cut the map into parts '
                    '(gdal_translate -srcwin)'
                )
            raise ConfigError(
                f'{dataset.name}: class {label} is so wide in rows {first} to {stop - 1} that '
                f'{bottom - top} rows would have to be thinned at once, which needs too much '
                'memory: such areas have no centre line, so map at a coarser size, or cut the map '
                'into parts'
            )
        of_class = _read(dataset, top, bottom) == label
        if not of_class[first - top : stop - top].any():
            return None
        # beyond the edge of the map, repeat the class values at the edge
        rim = ((_RIM_PX * (top == 0), _RIM_PX * (bottom == dataset.height)), (_RIM_PX,) * 2)
        padded = np.pad(of_class, rim, 'edge')
        reach = ndimage.distance_transform_edt(padded).astype(np.float32)
        inside = (slice(rim[0][0], rim[0][0] + bottom - top), slice(_RIM_PX, -_RIM_PX))
        needed = 3 * float(reach[inside][first - top : stop - top].max()) + 8
        if needed <= halo or (top == 0 and bottom == dataset.height):
            return _Window(top, of_class, _thinned(padded)[inside], reach[inside])
        halo = max(2 * halo, int(needed))


def _thinned(of_class: Bool[np.ndarray, 'h w']) -> Bool[np.ndarray, 'h w']:
    try:
        from skimage.morphology import skeletonize
    except ImportError as error:
        raise ConfigError(
            "centre lines need scikit-image: pip install 'crossearth[lines]'"
        ) from error
    return np.asarray(skeletonize(of_class))


def _owners(
    window: _Window, first: int, stop: int, width: int
) -> tuple[Int64[np.ndarray, ' k'], Int64[np.ndarray, ' k']]:
    """Skeleton pixels that are closest to the class pixels of some rows, and to how many."""
    if not window.skeleton.any():
        return np.empty(0, np.int64), np.empty(0, np.int64)
    nearest = ndimage.distance_transform_edt(
        ~window.skeleton, return_distances=False, return_indices=True
    )
    rows = slice(first - window.top, stop - window.top)
    row, col = nearest[:, rows][:, window.of_class[rows]].astype(np.int64)
    return np.unique((row + window.top) * width + col, return_counts=True)


def _confidence(
    sure: rasterio.DatasetReader | None, first: int, stop: int, here: Bool[np.ndarray, 'h w']
) -> Float32[np.ndarray, ' n']:
    if sure is None:
        return np.full(int(here.sum()), np.nan, np.float32)
    stored = _read(sure, first, stop)[here].astype(np.float32)
    return np.asarray(stored * np.float32(sure.scales[0]))


def _read(dataset: rasterio.DatasetReader, first: int, stop: int) -> Shaped[np.ndarray, 'h w']:
    try:
        return np.asarray(dataset.read(1, window=((first, stop), (0, dataset.width))))
    except RasterioIOError as error:
        raise SceneError(
            f'{dataset.name}: rows {first} to {stop - 1} cannot be read ({error}), so the map is '
            'damaged: make it again'
        ) from error
