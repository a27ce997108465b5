"""A table of scenes, read by windows of pixels or by geographic slices."""

import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, SupportsIndex, get_args

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import torch
from affine import Affine
from jaxtyping import Bool, Float64, Integer, Shaped, UInt8
from pyproj import CRS, Transformer
from torch import Tensor

from crossearth.datasets.combine import Combinable, Meaning
from crossearth.datasets.cut import (
    hidden_pixels,
    in_image,
    resampled_scene,
    scaled_scene,
    to_pixels,
)
from crossearth.datasets.describing import dataset_facts, dataset_table
from crossearth.datasets.scene import Scene
from crossearth.datasets.scene_index import SceneIndex
from crossearth.datasets.timespan import ALWAYS, Times, dated, span_of
from crossearth.errors import (
    BandError,
    ConfigError,
    LabelError,
    SceneError,
    SceneNotFoundError,
    UnknownLabelWarning,
    WindowError,
)
from crossearth.geometry import ScaledWindow, Window
from crossearth.labels import (
    IGNORE_INDEX,
    ColourCodec,
    IdCodec,
    LabelCodec,
    LabelSpace,
    ThresholdCodec,
)
from crossearth.radiometry import to_unit
from crossearth.rasters import RasterReader, VectorLabels
from crossearth.spelling import check_choice

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ['PixelType', 'SceneDataset']

type Sample = dict[str, Tensor]
type GeoSlice = slice | tuple[slice, ...]
PixelType = Literal['native', 'float32', 'unit']

_ALWAYS_S = ALWAYS.left.timestamp(), ALWAYS.right.timestamp()
_EDGE_POINTS = 21
_GRID_TOLERANCE_PX = 0.01
_MOST_PIXELS = 1 << 31
_SAME_SIZE = 0.02  # the size of a pixel differs a little between CRSs


class SceneDataset(Combinable):
    """Scenes of any CRS, size and domain, each read in its own pixels.

    It accepts three kinds of keys:

    - A `Window` selects whole pixels of one scene. A `ScaledWindow` shows it in larger or smaller
      pixels, as random windows of a drawn size are.
    - A GeoSlice `[xmin:xmax, ymin:ymax, tmin:tmax]` in `dataset.crs` selects the window of the
      scene that it covers most, among those taken in that time. Scenes on the same pixel grid fill
      in where that scene ends.
    - An integer selects a whole scene.

    Nothing is resampled, unless `gsd_m` asks for one pixel size on the ground. Every scene is then
    seen in such pixels, along its own axes or in a local metric CRS (see `resampled`), and windows
    count in these. Larger pixels are averages of those of the file, smaller ones are interpolated,
    and masks take the nearest pixel. `predict_scene` shows a model the same values.

    A sample holds `image` (c, h, w) in the file's type (float32 if asked for), `mask` int64 (h, w)
    of class ids if the scene has labels, `domain` and `index` (integers: the position in
    `domains` and of the scene), and `transform` float64 (9), the row-major affine matrix from
    `(col, row)` of the window to `(x, y)`. No-data pixels, padding and labels without a class are
    255 in `mask`, and black in `image`: 0, or the value that `value_range` makes 0.

    Samples of a dataset with a georeferenced scene have `bounds`, float64 (9), as in torchgeo:
    xmin, xmax, xres, ymin, ymax, yres of the window in the scene's own CRS, tmin, tmax of the scene
    in seconds since 1970, and 1. For a scene without georeferencing, unknown values are NaN.

    `index` is authoritative: once torchgeo's splits have changed it, `scenes`, `len`, samplers and
    every key follow it. A scene is then the rectangle of its pixels around the remaining part.
    Pixels of it whose centre lies outside the part, and what overhangs, are padding: 0 in `image`
    and 255 in `mask`. Scenes without georeferencing have no row and cannot be split in this way.

    Args:
        scenes: The scenes, at least one, all with the same number of bands to read.
        labels: The classes.
        codec: How mask files encode them, unless a scene states its own; by default as class ids,
            with 255 for ignored.
        ignore_nodata: Whether pixels without image data are also ignored in the mask.
        dtype: `'native'` keeps the file's pixels as they are, `'float32'` converts the values,
            `'unit'` scales them to [0, 1] by the scene's `value_range` or its type, so that scenes
            of several types make one batch.
        gsd_m: Side of a pixel in metres on the ground; None for the files' own pixels.
        domain_weights: How often random windows come from each domain, relative to the others;
            None for in proportion to their areas.
        max_open: Maximum number of files that a process keeps open.
        time: When the scenes were taken: one span for all (`'2021'`, `('2021-06', '2021-08')`),
            spans by patterns of image names, or `FileTimes`. Undated scenes count as taken at any
            time.

    Raises:
        SceneNotFoundError: If there are no scenes.
        BandError: If the scenes differ in their number of bands.
        LabelError: If vectors draw a class that `labels` lacks, or hold something that cannot be
            drawn.
        SceneError: If vectors cannot be read.
        ConfigError: If scenes cannot be resampled or dated, weights do not match the domains, or
            `dtype` is none of the three.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        labels: LabelSpace,
        *,
        codec: LabelCodec | None = None,
        ignore_nodata: bool = True,
        dtype: PixelType = 'native',
        gsd_m: float | None = None,
        domain_weights: Mapping[str, float] | None = None,
        max_open: int = 64,
        time: Times | None = None,
    ) -> None:
        check_choice('dtype', dtype, get_args(PixelType))
        if not scenes:
            raise SceneNotFoundError('no scenes: expected at least one; check root, split and glob')
        for scene in scenes:
            if len(scene.raster.bands) != len(scenes[0].raster.bands):
                raise BandError(
                    f'{scene.image}: {len(scene.raster.bands)} bands, but {scenes[0].image} has '
                    f'{len(scenes[0].raster.bands)}: pass bands=(...) with those that all share'
                )
        # many scenes share the labels of one vector file, which is checked once
        for vectors in {id(scene.labels): scene.labels for scene in scenes}.values():
            if not isinstance(vectors, VectorLabels):
                continue
            high = [i for i in vectors.ids if i != IGNORE_INDEX][-1:]
            if high and high[0] >= labels.num_classes:
                raise LabelError(
                    f'{vectors.path}: draws class {high[0]}, but {labels.name} has '
                    f'{labels.num_classes} classes: use ids of its classes, or 255'
                )
        scenes = dated(scenes, time)
        if gsd_m is not None:
            scenes = [resampled_scene(scene, gsd_m) for scene in scenes]
        _check_vectors(scenes)
        self._index = SceneIndex(scenes)
        self._placed = any(scene.crs is not None for scene in scenes)
        self.gsd_m = gsd_m
        self.labels = labels
        self.codec: LabelCodec = codec or IdCodec.identity(labels.num_classes)
        self.ignore_nodata = ignore_nodata
        self.dtype = dtype
        self.domains = tuple(dict.fromkeys(scene.domain for scene in scenes))
        self.domain_weights = _check_weights(domain_weights, self.domains)
        self._numbers = {name: i for i, name in enumerate(self.domains)}
        self._reader = RasterReader(max_open)
        self._unknown_seen: set[int] = set()

    @property
    def num_bands(self) -> int:
        """Bands of every image."""
        return len(self.scenes[0].raster.bands)

    @property
    def blacks(self) -> set[float]:
        """The values that padding has in the images, as `dtype` gives them."""
        return {0.0} if self.dtype == 'unit' else {scene.raster.black for scene in self.scenes}

    @property
    def gsd_range_m(self) -> tuple[float, float] | None:
        """Smallest and largest pixel size on the ground, in metres, at which scenes are read.

        The size of a pixel is the root of its area. None if a scene is not georeferenced.
        """
        sizes = [scene.raster.mean_gsd_m() for scene in self.scenes]
        known = [size for size in sizes if size is not None]
        return (min(known), max(known)) if len(known) == len(sizes) else None

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The scenes, or the parts of them that remain in the index."""
        return self._index.scenes

    @property
    def paths(self) -> list[str]:  # type: ignore[override]  # they follow from the scenes
        """The image files."""
        return list(dict.fromkeys(scene.image for scene in self.scenes))

    @property
    def index(self) -> gpd.GeoDataFrame:
        """The georeferenced scenes as torchgeo's table of `filepath`, `scene`, footprint and time.

        Footprints are in one CRS, that of the first scene. Scenes without a CRS have no row,
        because their position is not known. Removing, cutting or shortening rows removes the
        pixels from the dataset, see `SceneIndex`.
        """
        return self._index.table

    @index.setter
    def index(self, table: gpd.GeoDataFrame) -> None:
        self._index.table = table

    @property  # type: ignore[override]  # scenes need not be georeferenced
    def crs(self) -> CRS | None:
        """CRS of the index and of geographic slices; None if no scene has one."""
        return self._index.crs

    @crs.setter
    def crs(self, crs: CRS) -> None:
        if crs == self.crs:
            return
        self._index.to_crs(CRS.from_user_input(crs))

    @property
    def res(self) -> tuple[float, float]:
        """Pixel size in x and y of the first georeferenced scene, in units of `crs`."""
        scene = next((scene for scene in self.scenes if scene.crs is not None), self.scenes[0])
        if scene.crs is None or scene.crs == self.crs:
            return _pixel_size(scene.transform)
        col, row = scene.width / 2, scene.height / 2
        places = [scene.transform @ place for place in ((col, row), (col + 1, row), (col, row + 1))]
        xs, ys = Transformer.from_crs(scene.crs, self.crs, always_xy=True).transform(
            *np.array(places).T
        )
        return (
            float(np.hypot(xs[1] - xs[0], ys[1] - ys[0])),
            float(np.hypot(xs[2] - xs[0], ys[2] - ys[0])),
        )

    @res.setter
    def res(self, res: float | tuple[float, float]) -> None:
        wanted = (res, res) if isinstance(res, int | float) else res
        if not np.allclose(wanted, self.res, rtol=_SAME_SIZE, atol=0):
            raise ConfigError(
                f'res is set to {wanted}, but the scenes have {self.res}: scenes are read natively '
                'and cannot be resampled by setting res; open them with gsd_m'
            )

    def __len__(self) -> int:
        return len(self.scenes)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({", ".join(dataset_facts(self).values())})'

    def __str__(self) -> str:  # torchgeo's reads the footprints
        return repr(self)

    def _repr_html_(self) -> str:
        return dataset_table(self)

    def __getitem__(self, key: Window | ScaledWindow | SupportsIndex | GeoSlice) -> Sample:
        """The sample of a window, of a whole scene, or of a geographic slice.

        Raises:
            WindowError: If the key lies outside the scenes.
            ConfigError: If a slice asks for another pixel size than the scene has.
            SceneError: If pixels cannot be read.
            LabelError: If a mask holds an id that no class has.
        """
        if isinstance(key, Window | ScaledWindow):
            return self._sample(key)
        if isinstance(key, slice | tuple):
            return self._mosaic(self._windows_of(key))
        try:
            scene = operator.index(key)  # numpy's integers, too
        except TypeError as error:
            raise WindowError(
                f'{key!r} is not an index: expected a Window, an int, or [x0:x1, y0:y1]'
            ) from error
        if not 0 <= scene < len(self):
            raise WindowError(f'scene {scene} of {len(self)}: expected 0 to {len(self) - 1}')
        return self._sample(self.whole(scene))

    def whole(self, scene: int) -> Window:
        """The window that is a whole scene."""
        there = self.scenes[scene]
        return Window(scene=scene, row=0, col=0, height=there.height, width=there.width)

    def read_image(
        self, window: Window | ScaledWindow
    ) -> tuple[Shaped[Tensor, 'c h w'], Bool[np.ndarray, 'h w'] | None]:
        """Pixels of a window, and which of them hold data, without reading its labels.

        Returns:
            The image in the dataset's `dtype`, black where there is no data, and a map of where
            there is data, or None if there is data everywhere.

        Raises:
            WindowError: If the window lies outside the scenes.
            SceneError: If the pixels cannot be read.
        """
        return self._image(*self._scene_of(window))

    def _image(
        self, scene: Scene, window: Window
    ) -> tuple[Shaped[Tensor, 'c h w'], Bool[np.ndarray, 'h w'] | None]:
        pixels, valid = self._reader.read(scene.raster, in_image(scene, window))
        hidden = None if scene.part is None else hidden_pixels(scene, window)
        if hidden is not None:
            pixels[:, hidden] = scene.raster.black
            valid = ~hidden if valid is None else valid & ~hidden
        return self._typed(pixels, scene), valid

    def read_labels(self, window: Window | ScaledWindow) -> UInt8[np.ndarray, 'h w']:
        """Class ids of a window, without reading its image; 255 outside the scene.

        Raises:
            WindowError: If the window lies outside the scenes.
            SceneError: If the scene has no labels, or they cannot be read.
            LabelError: If the mask holds an id that is not a class.
        """
        return self._ids(*self._scene_of(window))

    def _ids(self, scene: Scene, window: Window) -> UInt8[np.ndarray, 'h w']:
        if scene.labels is None:
            raise SceneError(f'{scene.image}: has no mask')
        ids = self._reader.labels(
            scene.raster,
            scene.labels,
            in_image(scene, window),
            lambda raw: self._decode(scene, window.scene, raw),
            coloured=isinstance(scene.codec or self.codec, ColourCodec | ThresholdCodec),
        )
        hidden = None if scene.part is None else hidden_pixels(scene, window)
        if hidden is not None:
            ids[hidden] = IGNORE_INDEX
        return ids

    def plot(
        self, sample: Sample, show_titles: bool = True, suptitle: str | None = None
    ) -> 'Figure':
        """A picture of a sample in the palette of the classes.

        Args:
            sample: `image` (c, h, w) of any type; `mask` and `prediction` (h, w) if it has them.
                Images that do not have 8 bits are stretched between their 2nd and 98th
                percentiles.
            show_titles: Whether each panel has a title.
            suptitle: Line above the panels.

        Returns:
            A figure of image, ground truth and prediction; `figure.savefig(path)` writes it.

        Raises:
            ConfigError: If the image has two bands.
            ShapeError: If a map differs in size from the image.
        """
        from crossearth.panels import displayed, draw_panels  # matplotlib takes a second to import

        maps = {
            name: sample[key].numpy().astype(np.uint8)
            for key, name in (('mask', 'truth'), ('prediction', 'prediction'))
            if key in sample
        }
        image = displayed(sample['image'].numpy())
        figure = draw_panels(image, maps, self.labels, title=suptitle or '')
        if not show_titles:
            for axes in figure.axes:
                axes.set_title('')
        return figure

    def _scene_of(self, key: Window | ScaledWindow) -> tuple[Scene, Window]:
        """The scene of a window, in the pixels that the window counts in, and the window in it."""
        if key.scene >= len(self):
            raise WindowError(f'{key}: expected a scene from 0 to {len(self) - 1}')
        scene, window = self.scenes[key.scene], key
        if isinstance(window, ScaledWindow):
            if scene.raster.native is not None:
                raise ConfigError(
                    f'{scene.image}: is resampled to a gsd_m, and cannot be scaled again: open the '
                    'dataset without gsd_m, because scaled windows are read from pixels of the file'
                )
            scene = scaled_scene(scene, window.row_step, window.col_step)
            window = window.window
        bottom, right = window.stop
        if window.row >= scene.height or window.col >= scene.width or bottom <= 0 or right <= 0:
            raise WindowError(
                f'{window} lies outside {scene.image}, which has {scene.height} rows and '
                f'{scene.width} columns'
            )
        return scene, window

    def _sample(self, key: Window | ScaledWindow) -> Sample:
        scene, window = self._scene_of(key)
        there = in_image(scene, window)
        image, valid = self._image(scene, window)
        sample: Sample = {
            'image': image,
            'domain': torch.from_numpy(np.array(self._numbers[scene.domain])),
            'index': torch.from_numpy(np.array(window.scene)),
            'transform': _matrix(scene.raster.transform, there),
        }
        if self._placed:
            sample['bounds'] = _bounds(scene, scene.raster.transform, there)
        if scene.labelled:
            sample['mask'] = torch.from_numpy(self._labels(scene, window, valid)).long()
        return sample

    def _typed(self, pixels: Shaped[np.ndarray, 'c h w'], scene: Scene) -> Shaped[Tensor, 'c h w']:
        image = torch.from_numpy(pixels)
        if self.dtype == 'native':
            return image
        if self.dtype == 'unit':
            return to_unit(image, value_range=scene.raster.value_range)
        return image.float()

    def _labels(
        self, scene: Scene, window: Window, valid: Bool[np.ndarray, 'h w'] | None
    ) -> UInt8[np.ndarray, 'h w']:
        ids = self._ids(scene, window)
        if self.ignore_nodata and valid is not None:
            ids[~valid] = IGNORE_INDEX
        return ids

    def _decode(
        self, scene: Scene, index: int, raw: Integer[np.ndarray, 'c a b']
    ) -> UInt8[np.ndarray, 'a b']:
        try:
            ids, unknown = (scene.codec or self.codec).decode(raw)
        except LabelError as error:
            raise LabelError(f'{scene.mask}: {error}') from error
        high = int((ids + np.uint8(1)).max(initial=0)) - 1  # 255, the ignored label, wraps to 0
        if high >= self.labels.num_classes:
            raise LabelError(
                f'{scene.mask}: decodes to class {high}, but {self.labels.name} has '
                f'{self.labels.num_classes} classes: the codec belongs to another label space'
            )
        if unknown and index not in self._unknown_seen:
            self._unknown_seen.add(index)
            value, count = max(unknown.items(), key=lambda item: item[1])
            warnings.warn(
                f'{scene.mask}: {sum(unknown.values())} pixels of {len(unknown)} colours that no '
                f'class has are ignored, most often {value} ({count} pixels)',
                UnknownLabelWarning,
                stacklevel=2,
            )
        return ids

    def _windows_of(self, key: GeoSlice) -> list[Window]:
        """Windows of a geographic slice: first of the best covered scene, then of the others.

        All have the size of the first one, on its pixel grid.
        """
        (x0, x1, y0, y1), time = self._resolve(key)
        order = self._index.overlapping(shapely.box(x0, y0, x1, y1), time)
        if not order:
            when = '' if time is None else f', time {time.left} to {time.right}'
            bounds_xy, taken = self._index.extent()
            raise WindowError(
                f'slice x {x0}:{x1}, y {y0}:{y1}{when} touches no scene: expected one within '
                f'{bounds_xy} in {self.crs}, {taken.left} to {taken.right}'
            )
        best = order[0]
        first = self._slice_window(best, (x0, y0, x1, y1))
        windows = [first]
        for other in order[1:]:
            offset = _grid_offset(self.scenes[best], self.scenes[other])
            if offset is not None:
                row, col = first.row + offset[0], first.col + offset[1]
                windows.append(Window(other, row, col, first.height, first.width))
        return windows

    def _resolve(
        self, key: GeoSlice
    ) -> tuple[tuple[float, float, float, float], pd.Interval | None]:
        if self.crs is None:
            raise WindowError(
                'no scene is georeferenced, so there are no coordinates to slice by: use '
                'Window(scene, row, col, height, width)'
            )
        parts = key if isinstance(key, tuple) else (key,)
        if not 1 <= len(parts) <= 3 or not all(isinstance(part, slice) for part in parts):
            raise WindowError(
                f'{key!r} is not an index: expected a Window, an int, or [x0:x1, y0:y1]'
            )
        (least_x, least_y, most_x, most_y), taken = self._index.extent()
        x = parts[0]
        y = parts[1] if len(parts) > 1 else slice(None)
        for part, size in zip((x, y), self.res, strict=True):
            if part.step is not None and not np.isclose(part.step, size, rtol=_SAME_SIZE, atol=0):
                raise ConfigError(
                    f'slice asks for a pixel size of {part.step}, but the scenes have {size} and '
                    'are read natively: leave the step out'
                )
        time = parts[2] if len(parts) > 2 and parts[2] != slice(None) else None
        return (
            float(least_x if x.start is None else x.start),
            float(most_x if x.stop is None else x.stop),
            float(least_y if y.start is None else y.start),
            float(most_y if y.stop is None else y.stop),
        ), None if time is None else span_of(time, taken)

    def _slice_window(self, index: int, bounds_xy: tuple[float, float, float, float]) -> Window:
        """The window of whole pixels nearest to a box, or around it if the CRS is another."""
        scene = self.scenes[index]
        cols, rows = to_pixels(_ring(bounds_xy), scene, self.crs).T
        # The size depends only on the size of the box; halves always round up, never to even.
        row, col = (math.floor(float(start.min()) + 0.5) for start in (rows, cols))
        height, width = (max(round(float(np.ptp(ends))), 1) for ends in (rows, cols))
        if height * width > _MOST_PIXELS:
            raise WindowError(
                f'the slice spans {height} x {width} pixels: give both bounds of x and y, or read '
                'scene by scene with integers'
            )
        # A box that shares less than half a pixel with the scene still shows that pixel.
        row = min(max(row, 1 - height), scene.height - 1)
        col = min(max(col, 1 - width), scene.width - 1)
        return Window(index, row, col, height, width)

    def _mosaic(self, windows: list[Window]) -> Sample:
        sample = self._sample(windows[0])
        free = hidden_pixels(self.scenes[windows[0].scene], windows[0])
        for window in windows[1:]:
            if free is None:
                break
            hidden = hidden_pixels(self.scenes[window.scene], window)
            covered = free if hidden is None else free & ~hidden
            if not covered.any():
                continue
            other = self._sample(window)
            for name in ('image', 'mask'):
                if name in sample and name in other:
                    sample[name] = torch.where(torch.from_numpy(covered), other[name], sample[name])
            free = None if hidden is None else free & hidden
        # torchgeo would concatenate these or take the larger, see `Meaning`
        for name in ('domain', 'index', 'transform'):
            sample[name] = sample[name].as_subclass(Meaning)
        return sample


def _check_vectors(scenes: Sequence[Scene]) -> None:
    """Draw one pixel of vector labels in each CRS, so that errors do not come in mid-training."""
    drawn = set()
    for scene in scenes:
        if not isinstance(scene.labels, VectorLabels):
            continue
        if scene.crs is None:
            raise ConfigError(
                f'{scene.image}: has no CRS, so the features of {scene.labels.path} have no place '
                "on it: pass crs='EPSG:...' if the coordinates of the image are known, or gsd_m if "
                'it has control points'
            )
        key = id(scene.labels), scene.crs.srs
        if key not in drawn:
            drawn.add(key)
            scene.labels.burn(scene.crs, scene.transform, height=1, width=1)


def _check_weights(
    weights: Mapping[str, float] | None, domains: tuple[str, ...]
) -> dict[str, float] | None:
    if weights is None:
        return None
    if set(weights) != set(domains) or not all(0 <= w < np.inf for w in weights.values()):
        raise ConfigError(
            f'domain_weights={dict(weights)}: expected a number from 0 up for each of {domains}'
        )
    if not any(weights.values()):
        raise ConfigError('domain_weights are all 0: expected at least one above 0')
    return dict(weights)


def _matrix(transform: Affine, window: Window) -> Float64[Tensor, '9']:
    """`window_transform` as a tensor, computed without intermediate objects."""
    a, b, c, d, e, f, *_ = transform
    x, y = a * window.col + b * window.row + c, d * window.col + e * window.row + f
    return torch.from_numpy(np.array((a, b, x, d, e, y, 0.0, 0.0, 1.0)))


def _bounds(scene: Scene, transform: Affine, window: Window) -> Float64[Tensor, '9']:
    """Ground and time of a window of a whole scene, as torchgeo writes them."""
    ends = _ALWAYS_S
    if scene.time is not None:
        ends = scene.time.left.timestamp(), scene.time.right.timestamp()
    x = y = (math.nan, math.nan, math.nan)
    if scene.crs is not None:
        a, b, c, d, e, f, *_ = transform
        right, down = a * window.width, e * window.height
        left = a * window.col + b * window.row + c
        top = d * window.col + e * window.row + f
        if b or d:
            xs = (left, left + right, left + b * window.height, left + right + b * window.height)
            ys = (top, top + down, top + d * window.width, top + down + d * window.width)
            x = min(xs), max(xs), math.hypot(a, d)
            y = min(ys), max(ys), math.hypot(b, e)
        else:
            x = min(left, left + right), max(left, left + right), abs(a)
            y = min(top, top + down), max(top, top + down), abs(e)
    return torch.from_numpy(np.array((*x, *y, *ends, 1.0)))  # 1 µs, torch.tensor takes 7


def _pixel_size(transform: Affine) -> tuple[float, float]:
    """Lengths of a pixel's sides, also for rotated grids."""
    return float(np.hypot(transform.a, transform.d)), float(np.hypot(transform.b, transform.e))


def _ring(bounds_xy: tuple[float, float, float, float]) -> Float64[np.ndarray, 'n 2']:
    """Points along the edges of a box, because straight edges become curves in other CRSs."""
    x0, y0, x1, y1 = bounds_xy
    along = np.linspace(0.0, 1.0, _EDGE_POINTS)
    xs = np.concatenate([x0 + (x1 - x0) * along, np.full(_EDGE_POINTS, x1)])
    xs = np.concatenate([xs, x1 - (x1 - x0) * along, np.full(_EDGE_POINTS, x0)])
    ys = np.concatenate([np.full(_EDGE_POINTS, y0), y0 + (y1 - y0) * along])
    ys = np.concatenate([ys, np.full(_EDGE_POINTS, y1), y1 - (y1 - y0) * along])
    return np.stack([xs, ys], axis=1)


def _grid_offset(base: Scene, other: Scene) -> tuple[int, int] | None:
    """Rows and columns from the grid of `other` to that of `base`, if they are one grid."""
    if (
        base.crs != other.crs
        or len(base.raster.bands) != len(other.raster.bands)
        or base.raster.dtype != other.raster.dtype
    ):
        return None
    size = max(_pixel_size(base.transform))
    linear = [abs(getattr(base.transform, k) - getattr(other.transform, k)) for k in 'abde']
    if max(linear) * max(base.width, base.height) > _GRID_TOLERANCE_PX * size:
        return None
    col, row = ~other.transform @ (base.transform.c, base.transform.f)
    if abs(col - round(col)) > _GRID_TOLERANCE_PX or abs(row - round(row)) > _GRID_TOLERANCE_PX:
        return None
    return round(row), round(col)
