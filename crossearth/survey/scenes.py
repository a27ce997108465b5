"""Gathers the scenes of a folder with their masks, and reports which files cannot be used."""

import itertools
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import fiona
import numpy as np
from fiona.errors import FionaError
from jaxtyping import Shaped
from rasterio.errors import NotGeoreferencedWarning

from crossearth.datasets.files import RasterFile, rasters_below
from crossearth.datasets.pairing import guess_patterns, looks_like_mask, pair_files
from crossearth.errors import (
    ConfigError,
    CrossEarthError,
    LabelError,
    SceneNotFoundError,
)
from crossearth.geometry import Window
from crossearth.progress import progress_bar
from crossearth.rasters import (
    Alpha,
    HeaderCache,
    Mask,
    Raster,
    RasterReader,
    VectorLabels,
    describe_mask,
    describe_raster,
)
from crossearth.survey.mask_values import MaskValues, Tile, read_mask_values

__all__ = ['Fault', 'Look', 'SceneSet', 'gather', 'same_bands']

_VECTORS = ('.gpkg', '.geojson', '.json', '.shp', '.fgb', '.kml', '.gml')
_LINE_WIDTH_M = 6.0
_MOST_MASK_PX = 3_000_000_000  # takes half a minute to a minute on two cores
_SAMPLE_PX = 256  # side of the sample in the middle of an image
_MOST_VALUES = 4096  # values kept of each sample
_BURN_PX = 512  # finest grid on which vector features are counted


class Fault(NamedTuple):
    """A file that cannot be used.

    Args:
        name: Path inside the folder of images.
        reason: Why it cannot be used.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Look:
    """One usable image, and its labels.

    Args:
        name: Path inside the folder of images.
        raster: The image.
        mask: Values of its mask; None without a mask, and for labels from vectors.
        tiles: Parts of the labels, with how often each value occurs there.
        sample: Some of its pixel values, without nodata.
        covered: Share of the image that its mask lies on.
    """

    name: str
    raster: Raster
    mask: MaskValues | None
    tiles: tuple[Tile, ...]
    sample: Shaped[np.ndarray, ' n']
    covered: float = 1.0

    @property
    def side_px(self) -> int:
        """The shorter side."""
        return min(self.raster.height, self.raster.width)

    @property
    def gsd_m(self) -> float | None:
        """Square root of the ground area of a pixel, in metres; None if unknown."""
        return self.raster.mean_gsd_m()


@dataclass(slots=True)
class SceneSet:
    """The images of one place, as given to `start`.

    Args:
        name: `'source'`, or the name of the unseen domain.
        images: Folder of the images.
        alpha: What a band that a file calls alpha is.
        masks: Folder of the masks; None without masks, and for vectors.
        vectors: Labels from vectors; None for masks, and without labels.
        image_names: Pattern of the image names.
        mask_names: Pattern of the mask names.
        looks: The usable images.
        unpaired: Images that have no mask, as paths inside the folder.
        spare: Masks that have no image.
        faults: Files that cannot be used.
    """

    name: str
    images: str
    alpha: Alpha = 'auto'
    masks: str | None = None
    vectors: VectorLabels | None = None
    image_names: str = '*'
    mask_names: str = '*'
    looks: list[Look] = field(default_factory=list)
    unpaired: list[str] = field(default_factory=list)
    spare: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def labelled(self) -> bool:
        """Whether there are masks or vectors."""
        return self.masks is not None or self.vectors is not None


def gather(
    name: str,
    images: str,
    labels: str | None,
    *,
    bands: Sequence[int] | None = None,
    alpha: Alpha = 'auto',
    progress: bool = True,
) -> SceneSet:
    """Inspect a folder of images: headers, all masks, and a few pixels of each image.

    Args:
        name: Name of the domain.
        images: Folder of the images.
        labels: Folder of the masks, or a vector file; None to look for masks among the images.
        bands: Bands to read, counted from 1; None for all but alpha.
        alpha: What a band that a file calls alpha is, see `describe_raster`.
        progress: Whether to show a bar.

    Raises:
        SceneNotFoundError: If a folder is missing or empty.
        SceneError: If the vectors cannot be read.
        LabelError: If two masks match one image or two images one mask, or vectors hold points.
    """
    if Path(images).is_file() and not images.lower().endswith('.zip'):
        raise SceneNotFoundError(f'{images} is a file: pass the folder that contains it')
    found = SceneSet(name, images, alpha)
    pairs = _pairs(found, labels)
    cache = HeaderCache(images)
    jobs: list[tuple[str, Raster, Mask | VectorLabels | None]] = []
    total_px = 0
    for image, mask in progress_bar(
        pairs, desc=f'{name}: headers', unit='image', leave=False, shown=progress
    ):
        try:
            raster = describe_raster(image.path, bands=bands, alpha=alpha, cache=cache)
            own: Mask | VectorLabels | None = found.vectors
            if found.vectors is not None and raster.crs is None:
                raise LabelError('has no CRS, so its features have no place on the image')
            if mask is not None:
                own = describe_mask(mask.path, raster, cache=cache)
                total_px += own.height * own.width
        except CrossEarthError as error:
            found.faults.append(Fault(image.name, _plain(error, image)))
        else:
            jobs.append((image.name, raster, own))
    cache.save()
    share = max(_MOST_MASK_PX // max(len(jobs), 1), 1)
    most_px = total_px if total_px <= _MOST_MASK_PX else share

    def look(job: tuple[str, Raster, Mask | VectorLabels | None]) -> Look | Fault:
        try:
            return _look(*job, most_px=most_px)
        except CrossEarthError as error:
            return Fault(job[0], str(error))

    for seen in _each(look, jobs, title=name, progress=progress):
        if isinstance(seen, Fault):
            found.faults.append(seen)
        else:
            found.looks.append(seen)
    return found


def _pairs(found: SceneSet, labels: str | None) -> list[tuple[RasterFile, RasterFile | None]]:
    """Images and their masks, by the name patterns that pair most of them."""
    files = rasters_below(found.images)
    if labels is not None and Path(labels).suffix.lower() in _VECTORS:
        found.vectors = _vectors(labels)
        return [(file, None) for file in files]
    if labels is None or os.path.realpath(labels) == os.path.realpath(found.images):
        masks = [file for file in files if looks_like_mask(file)]
        # where every name looks like that of a mask, names tell nothing
        if not masks or len(masks) == len(files):
            return [(file, None) for file in files]
        files = [file for file in files if not looks_like_mask(file)]
        found.masks = found.images
    else:
        if Path(labels).is_file() and not labels.lower().endswith('.zip'):
            raise SceneNotFoundError(
                f'{labels} is a file: pass the folder of the masks, or a vector file ending in '
                f'{", ".join(_VECTORS)}'
            )
        masks = rasters_below(labels)
        found.masks = labels
        # the folder of the masks may lie inside that of the images
        inside = {os.path.realpath(mask.path) for mask in masks}
        files = [file for file in files if os.path.realpath(file.path) not in inside] or files
    found.image_names, found.mask_names = guess_patterns(files, masks)
    pairs = pair_files(files, masks, image_names=found.image_names, mask_names=found.mask_names)
    found.unpaired = [image.name for image, mask in pairs if mask is None]
    used = {mask.path for _, mask in pairs if mask is not None}
    found.spare = [mask.name for mask in masks if mask.path not in used]
    if len(found.unpaired) == len(pairs):
        raise SceneNotFoundError(
            f'{found.images}: none of {len(files)} images has a mask in {found.masks}, which '
            f'holds {len(masks)}: expected names that have something in common, such as '
            f'{files[0].name} and {_alike(files[0])}, but got {masks[0].name}'
        )
    return [(image, mask) for image, mask in pairs if mask is not None]


def _alike(file: RasterFile) -> str:
    return '/'.join((*file.below, f'{file.stem}_mask.png'))


def _vectors(path: str) -> VectorLabels:
    try:
        with fiona.open(path) as source:
            kind = str(source.schema['geometry'])
            first = next(iter(source), None)
    except FionaError as error:
        if not Path(path).exists():
            raise SceneNotFoundError(f'{path} does not exist: check the path') from error
        raise LabelError(f'{path} cannot be read ({error}): expected polygons or lines') from error
    if first is None:
        raise LabelError(f'{path} holds no features: expected polygons or lines')
    # some formats do not state the kind of their geometries
    if 'Unknown' in kind and first.geometry is not None:
        kind = first.geometry.type
    if 'Point' in kind:
        raise LabelError(f'{path} holds points: expected polygons or lines, so buffer the points')
    return VectorLabels(path, line_width_m=_LINE_WIDTH_M if 'Line' in kind else None)


def _look(
    name: str, raster: Raster, labels: Mask | VectorLabels | None, *, most_px: int
) -> Look | Fault:
    sample, blank = _sample(raster)
    if blank:
        return Fault(name, 'has no data in its middle and in its last row')
    if isinstance(labels, Mask):
        values = read_mask_values(labels.path, most_px=most_px)
        covered = labels.covered_share(raster)
        return Look(name, raster, values, values.tiles, sample, covered)
    tiles = () if labels is None else _burnt(raster, labels)
    return Look(name, raster, None, tiles, sample)


def _sample(raster: Raster) -> tuple[Shaped[np.ndarray, ' n'], bool]:
    """Some values of an image, and whether it is blank; reading the last row detects truncation."""
    reader = RasterReader(max_open=1)
    height, width = min(raster.height, _SAMPLE_PX), min(raster.width, _SAMPLE_PX)
    row, col = (raster.height - height) // 2, (raster.width - width) // 2
    try:
        pixels, valid = reader.read(raster, Window(0, row, col, height, width))
        last, last_valid = reader.read(
            raster, Window(0, raster.height - 1, 0, 1, min(raster.width, 4096))
        )
    finally:
        reader.close()
    known = pixels.reshape(len(pixels), -1) if valid is None else pixels[:, valid]
    below = last.reshape(len(last), -1) if last_valid is None else last[:, last_valid]
    values = known.ravel()
    step = max(values.size // _MOST_VALUES, 1)
    # a view would keep all pixels of the window in memory
    return values[::step].copy(), not (known.any() or below.any())


def _burnt(raster: Raster, labels: VectorLabels) -> tuple[Tile, ...]:
    """Count vector features on a coarser grid, in up to 16 tiles."""
    assert raster.crs is not None  # the caller has checked
    rows = _edges(raster.height)
    cols = _edges(raster.width)
    tiles = []
    for top, bottom in rows:
        for left, right in cols:
            height, width = min(bottom - top, _BURN_PX), min(right - left, _BURN_PX)
            down, across = (bottom - top) / height, (right - left) / width
            place = raster.transform @ raster.transform.translation(left, top)
            place = place @ raster.transform.scale(across, down)
            ids = labels.burn(raster.crs, place, height=height, width=width)
            values, counts = np.unique(ids, return_counts=True)
            tiles.append(
                Tile(
                    top,
                    left,
                    bottom - top,
                    right - left,
                    {
                        int(value): round(int(count) * down * across)
                        for value, count in zip(values, counts, strict=True)
                    },
                )
            )
    return tuple(tiles)


def _edges(length: int) -> list[tuple[int, int]]:
    parts = min(4, -(-length // _BURN_PX))
    cuts = np.linspace(0, length, parts + 1).round().astype(int).tolist()
    return list(itertools.pairwise(cuts))


def _plain(error: CrossEarthError, image: RasterFile) -> str:
    return str(error).removeprefix(f'{image.path}: ')


def _each[T, R](
    work: Callable[[T], R], jobs: Sequence[T], *, title: str, progress: bool
) -> Iterable[R]:
    """Results in order, from one thread per core; GDAL releases the GIL while it reads."""
    with (
        # threads that save and restore filters in turn would leak warnings; users need none of them
        warnings.catch_warnings(action='ignore', category=NotGeoreferencedWarning),
        ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, 8)) as threads,
        progress_bar(total=len(jobs), desc=title, unit='image', leave=False, shown=progress) as bar,
    ):
        for result in threads.map(work, jobs):
            bar.update()
            yield result


def same_bands(sets: Sequence[SceneSet]) -> tuple[int, ...]:
    """The bands to read from all images.

    Raises:
        ConfigError: If the images differ in their number of bands.
    """
    counts: Counter[int] = Counter()
    example: dict[int, str] = {}
    for found in sets:
        for look in found.looks:
            counts[len(look.raster.bands)] += 1
            example.setdefault(len(look.raster.bands), look.raster.path)
    if len(counts) > 1:
        several = ', '.join(f'{counts[n]} have {n} ({example[n]})' for n in sorted(counts))
        least = ' '.join(str(i) for i in range(1, min(counts) + 1))
        raise ConfigError(
            f'images differ in their number of bands: {several}. A model takes a fixed number, so '
            f'choose bands that all images have, such as --bands {least}'
        )
    return sets[0].looks[0].raster.bands
