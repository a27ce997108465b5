"""Writes the regions of maps as polygons, with class names and areas."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import batched, compress
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from jaxtyping import Bool, Float32, Float64, Integer
from numpy.typing import NDArray

from crossearth.errors import ConfigError
from crossearth.inference.ground_shapes import GroundShapes, as_geojson, pixel_size_m
from crossearth.inference.map_files import class_id, open_confidence, open_map, read_strips
from crossearth.inference.map_lock import only_writer
from crossearth.inference.regions import Region, regions
from crossearth.inference.right_angles import BENDS, square_corners
from crossearth.inference.vector_files import DRIVERS, check_shapes_path, open_shapes
from crossearth.inference.writer import class_names, remove_leftovers, whole_file
from crossearth.labels import LabelSpace
from crossearth.rasters import Georeference, gdal_environment

__all__ = ['VectorMap', 'vectorize']

_WRITE_AT_ONCE = 2000
_BUILDINGS = {'building', 'buildings'}


@dataclass(frozen=True, slots=True)
class VectorMap:
    """Polygons that were written.

    Args:
        path: The file.
        shapes: Number of polygons.
        dropped: Number of those left out because they were too small.
        squared: Number of those that got right angles.
        seconds: Wall-clock time.
    """

    path: Path
    shapes: int
    dropped: int
    squared: int
    seconds: float


def vectorize(
    source: str | Path,
    destination: str | Path,
    *,
    labels: LabelSpace | None = None,
    min_area_m2: float | int = 0,
    simplify_m: float | int = 0,
    square_m: float | int = 0,
    squared_classes: Sequence[str | int] | None = None,
    classes: Sequence[str | int] | None = None,
    background: bool = False,
    confidence: str | Path | None = None,
) -> VectorMap:
    """Write the regions of a map as polygons, with class names and areas.

    Each polygon has `class_id`, `class` and `area_m2`, its area on the ellipsoid of its CRS. If a
    confidence is given, `confidence` is its mean over the pixels. The file appears only when it is
    complete. Memory holds a strip of two million pixels and the regions that cross a seam.

    Args:
        source: Map of class ids, with a CRS and a transform.
        destination: `.gpkg` and `.fgb` in the CRS of the map, `.geojson` in EPSG:4326, where
            polygons across the antimeridian are cut in two, and long edges get further points.
        labels: Class names; None for those stored in the map.
        min_area_m2: Smaller polygons leave a gap; those that reach beyond the globe stay.
        simplify_m: How coarse borders may become, in metres at the middle of the map, see
            `regions`.
        square_m: How far outlines of buildings may move to get right angles, in metres on the
            ground, at least one pixel; 0 leaves them as they are. The field `squared` tells which
            polygons got right angles. Those that cannot, such as round buildings, lose bends below
            a third of this distance. Squared buildings may leave gaps to their neighbours, or
            overlap those less than twice this distance away. See `square_corners`.
        squared_classes: Names or ids of the classes that get right angles; None for those named
            building.
        classes: Names or ids to write; None for all but the background.
        background: Whether to also write a class named background.
        confidence: The confidence that was written with the map, on the same grid.

    Returns:
        The file and what is in it.

    Raises:
        SceneNotFoundError: If the map does not exist.
        SceneError: If it is not a raster with one integer band, or is damaged.
        ConfigError: If it has no CRS and transform on a body, or an argument does not make sense.
        WriteError: If the file cannot be written.
        BusyError: If another program is writing it.
    """
    start = time.perf_counter()
    path = check_shapes_path(destination)
    _check_numbers(min_area_m2=min_area_m2, simplify_m=simplify_m, square_m=square_m)
    if squared_classes is not None and not square_m:
        raise ConfigError(
            'squared_classes only works with square_m (--square-m): give both, or neither'
        )
    made = VectorMap(path, 0, 0, 0, 0.0)
    with ExitStack() as stack:
        stack.enter_context(gdal_environment())
        stack.enter_context(only_writer([path]))
        remove_leftovers(path)
        dataset = stack.enter_context(open_map(source))
        to_wgs84 = DRIVERS[path.suffix.lower()] == 'GeoJSON'
        ground = GroundShapes(Georeference.of(dataset), to_wgs84=to_wgs84, name=str(source))
        amounts = None if confidence is None else _amounts(confidence, dataset, stack)
        names = class_names(dataset.tags()) if labels is None else dict(enumerate(labels.classes))
        pixel_m = pixel_size_m(ground, dataset.shape)
        square = None
        if square_m > 0:
            square = _Square(ground, square_m, _squared(squared_classes, names), pixel_m)
        wanted = _wanted(names, classes=classes, background=background)
        found = (
            region
            for region in regions(
                _strips(dataset),
                nodata=None if dataset.nodata is None else int(dataset.nodata),
                simplify_px=simplify_m / pixel_m,
                amounts=amounts,
            )
            if region.label in wanted
        )
        temporary = stack.enter_context(whole_file(path))
        properties = {'class_id': 'int', 'class': 'str', 'area_m2': 'float'}
        properties |= {} if confidence is None else {'confidence': 'float'}
        properties |= {} if square is None else {'squared': 'bool'}
        with open_shapes(
            temporary, path, crs_wkt=ground.crs_wkt, geometry='Polygon', properties=properties
        ) as file:
            for batch in batched(found, _WRITE_AT_ONCE):
                shapes, squared = _plain(batch) if square is None else square(batch)
                polygons, areas = ground.polygons(shapes)
                kept = ~(areas < min_area_m2)  # NaN, with a corner outside the globe, is kept
                records = _records(batch, polygons, areas, names, squared)
                file.writerecords(compress(records, kept))
                made = replace(
                    made,
                    shapes=made.shapes + int(kept.sum()),
                    dropped=made.dropped + int((~kept).sum()),
                    squared=made.squared + (0 if squared is None else int(squared[kept].sum())),
                )
    return replace(made, seconds=time.perf_counter() - start)


def _check_numbers(**numbers: float | int) -> None:
    for name, value in numbers.items():
        if not value >= 0:
            raise ConfigError(f'{name} is {value}: expected 0 or more')


def _amounts(
    confidence: str | Path, of_map: rasterio.DatasetReader, stack: ExitStack
) -> Iterator[Float32[np.ndarray, 'h w']]:
    """Strips of a raster of confidence, from 0 to 1, as those of its map are read."""
    sure = stack.enter_context(open_confidence(confidence, of_map))
    scale = np.float32(sure.scales[0])
    return (strip.astype(np.float32) * scale for strip in read_strips(sure))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The classes to write: those of `ids`, or all if None, except the excluded ones."""

    ids: frozenset[int] | None
    but: frozenset[int]

    def __contains__(self, label: int) -> bool:
        return label not in self.but and (self.ids is None or label in self.ids)


def _wanted(
    names: Mapping[int, str], *, classes: Sequence[str | int] | None, background: bool
) -> _Wanted:
    if classes is not None:
        return _Wanted(frozenset(class_id(one, names) for one in classes), frozenset())
    but = {index for index, name in names.items() if name.lower() == 'background'}
    return _Wanted(None, frozenset() if background else frozenset(but))


def _squared(classes: Sequence[str | int] | None, names: Mapping[int, str]) -> frozenset[int]:
    if classes is not None:
        return frozenset(class_id(one, names) for one in classes)
    found = frozenset(index for index, name in names.items() if name.lower() in _BUILDINGS)
    if not found:
        known = ', '.join(names.values()) or 'none'
        raise ConfigError(
            f'no class of the map is named building (its classes: {known}): name the classes that '
            'get right angles (squared_classes, --squared-classes)'
        )
    return found


class _Square:
    """Gives outlines of some classes right angles on the ground."""

    def __init__(
        self, ground: GroundShapes, tolerance_m: float, classes: frozenset[int], pixel_m: float
    ) -> None:
        if tolerance_m < pixel_m * 0.999:  # UTM pixels are up to 0.1 % off their nominal size
            raise ConfigError(
                f'square_m is {tolerance_m}, less than a pixel, {pixel_m:.3g} m: choose at least '
                'one pixel, better two, because the staircases of pixels are not walls'
            )
        self._ground = ground
        self._tolerance_m = tolerance_m
        self._classes = classes

    def __call__(
        self, batch: Sequence[Region]
    ) -> tuple[list[shapely.Polygon], Bool[np.ndarray, ' n']]:
        """Polygons in pixels, and which of them have right angles."""
        polygons = [region.polygon for region in batch]
        squared = np.zeros(len(batch), bool)
        chosen = [i for i, region in enumerate(batch) if region.label in self._classes]
        if not chosen:
            return polygons, squared
        # a metre has the same length in all directions on the ground, but not in the pixels of a
        # map in degrees
        corners = [shapely.get_coordinates(polygons[i])[0] for i in chosen]
        for i, corner, frame in zip(
            chosen, corners, self._ground.frames(np.stack(corners)), strict=True
        ):
            in_metres = _moved(polygons[i], frame, corner)
            made = square_corners(in_metres, tolerance=self._tolerance_m)
            squared[i] = made is not None
            plain = in_metres.simplify(self._tolerance_m / BENDS) if made is None else made
            assert isinstance(plain, shapely.Polygon)  # the topology is preserved
            polygons[i] = _moved(plain, np.linalg.inv(frame), None, corner)
        return polygons, squared


def _plain(
    batch: Sequence[Region],
) -> tuple[list[shapely.Polygon], Bool[np.ndarray, ' n'] | None]:
    """Polygons in pixels as they are."""
    return [region.polygon for region in batch], None


def _moved(
    polygon: shapely.Polygon,
    matrix: Float64[np.ndarray, '2 2'],
    origin: Float64[np.ndarray, ' 2'] | None,
    offset: Float64[np.ndarray, ' 2'] | float = 0.0,
) -> shapely.Polygon:
    before = 0.0 if origin is None else origin
    return shapely.transform(polygon, lambda at: (at - before) @ matrix.T + offset)


def _records(
    batch: Sequence[Region],
    polygons: NDArray[np.object_],
    areas: Float64[np.ndarray, ' n'],
    names: Mapping[int, str],
    squared: Bool[np.ndarray, ' n'] | None,
) -> Iterator[dict[str, Any]]:
    told = [None] * len(batch) if squared is None else squared.tolist()
    for region, geometry, area, is_squared in zip(
        batch, as_geojson(polygons), areas, told, strict=True
    ):
        yield {
            'type': 'Feature',
            'geometry': geometry,
            'properties': {
                'class_id': region.label,
                'class': names.get(region.label, str(region.label)),
                'area_m2': None if np.isnan(area) else round(float(area), 3),
                **({} if region.mean is None else {'confidence': round(region.mean, 4)}),
                **({} if is_squared is None else {'squared': is_squared}),
            },
        }


def _strips(dataset: rasterio.DatasetReader) -> Iterator[Integer[np.ndarray, 'h w']]:
    for labels in read_strips(dataset):
        # the polygoniser cannot read unsigned integers of more than 16 bits
        yield labels if labels.dtype in (np.uint8, np.uint16, np.int16) else labels.astype(np.int32)
