"""Maps as polygons: files of regions with class names and areas."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import batched, compress, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import rasterio
import shapely
from jaxtyping import Float32, Float64, Integer, Shaped
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.errors import RasterioIOError

from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from crossearth.inference.antimeridian import in_one_turn
from crossearth.inference.map_lock import only_writer
from crossearth.inference.polygon_files import DRIVERS, open_polygons
from crossearth.inference.regions import Region, regions
from crossearth.inference.writer import class_names, whole_file
from crossearth.labels import LabelSpace
from crossearth.rasters import Georeference, gdal_environment

__all__ = ['VectorMap', 'vectorize']

_STRIP_PIXELS = 1 << 21  # of a strip, whatever the width of the map: they bound the memory
_WRITE_AT_ONCE = 2000
_WGS84 = 'EPSG:4326'


@dataclass(frozen=True, slots=True)
class VectorMap:
    """Polygons that were written.

    Args:
        path: The file.
        polygons: Their number.
        dropped: Number of those that were smaller than the least area.
        seconds: Wall-clock time.
    """

    path: Path
    polygons: int
    dropped: int
    seconds: float


def vectorize(
    source: str | Path,
    destination: str | Path,
    *,
    labels: LabelSpace | None = None,
    min_area_m2: float | int = 0,
    simplify_px: float | int = 0,
    classes: Sequence[int] | None = None,
    background: bool = False,
    confidence: str | Path | None = None,
) -> VectorMap:
    """Write the regions of a map as polygons, with class names and areas.

    Each polygon has `class_id`, `class`, `area_m2`, its area on the ellipsoid of its CRS, and
    `confidence`, the mean of its pixels, if the confidence is given. The file appears under its
    name only when it is complete. What is held in memory are the regions that cross the seam
    between two strips of two million pixels, whatever the height of the map.

    Args:
        source: Map of class ids, with a CRS and a transform.
        destination: `.gpkg` and `.fgb` in the CRS of the map, `.geojson` in EPSG:4326, where
            polygons across the antimeridian are cut in two.
        labels: Class names; None for those that the map carries.
        min_area_m2: Smaller polygons are left out, and leave a gap.
        simplify_px: How coarse borders may become, in pixels, see `regions`.
        classes: Ids to write; None for all but the background.
        background: Whether a class named background is written too.
        confidence: The confidence that was written with the map, on the same grid.

    Returns:
        The file and what is in it.

    Raises:
        SceneNotFoundError: If the map is not there.
        SceneError: If it is not a raster of one integer band, or is damaged.
        ConfigError: If it has no CRS and transform on a body, or an argument has no meaning.
        WriteError: If the file cannot be written.
        BusyError: If another process is writing it.
    """
    start = time.perf_counter()
    path = _check(source, destination, min_area_m2, simplify_px)
    count = dropped = 0
    with ExitStack() as stack:
        stack.enter_context(gdal_environment())
        stack.enter_context(only_writer([path]))
        dataset = stack.enter_context(_open(source))
        where = _check_map(dataset, source)
        amounts = None
        if confidence is not None:
            sure = stack.enter_context(_open(confidence))
            amounts = _confidences(sure, dataset)
        project = _Projector(
            where, to_wgs84=DRIVERS[path.suffix.lower()] == 'GeoJSON', name=str(source)
        )
        names = class_names(dataset.tags()) if labels is None else dict(enumerate(labels.classes))
        left_out = set[int]()
        if classes is None and not background:
            left_out = {index for index, name in names.items() if name.lower() == 'background'}
        nodata = None if dataset.nodata is None else int(dataset.nodata)
        found = (
            region
            for region in regions(
                _strips(dataset), nodata=nodata, simplify_px=simplify_px, amounts=amounts
            )
            if region.label not in left_out and (classes is None or region.label in classes)
        )
        temporary = stack.enter_context(whole_file(path))
        with open_polygons(
            temporary, path, crs_wkt=project.crs_wkt, has_confidence=confidence is not None
        ) as file:
            for batch in batched(found, _WRITE_AT_ONCE):
                polygons, areas = project([region.polygon for region in batch])
                kept = areas >= min_area_m2
                dropped += int((~kept).sum())
                count += int(kept.sum())
                file.writerecords(compress(_records(batch, polygons, areas, names), kept))
    return VectorMap(path, count, dropped, time.perf_counter() - start)


def _open(source: str | Path) -> rasterio.io.DatasetReader:
    try:
        return rasterio.open(str(source))
    except RasterioIOError as error:
        raise SceneError(f'{source} is not a raster that can be read ({error})') from error


def _confidences(
    sure: rasterio.io.DatasetReader, of_map: rasterio.io.DatasetReader
) -> Iterator[Float32[np.ndarray, 'h w']]:
    """Strips of a raster of confidence, from 0 to 1."""
    if sure.shape != of_map.shape or not sure.transform.almost_equals(of_map.transform):
        raise ConfigError(
            f'{sure.name} has {sure.shape} px at {sure.transform[:6]}, the map {of_map.shape} at '
            f'{of_map.transform[:6]}: expected one grid, that of the map'
        )
    scale = np.float32(sure.scales[0])
    return (strip.astype(np.float32) * scale for strip in _read_strips(sure))


def _check_map(dataset: rasterio.io.DatasetReader, source: str | Path) -> Georeference:
    """Where a map lies, if it is one."""
    if dataset.count != 1 or np.dtype(dataset.dtypes[0]).kind not in 'ui':
        raise SceneError(
            f'{source} has {dataset.count} band(s) of {dataset.dtypes[0]}: expected a map, one '
            'band of class ids'
        )
    where = Georeference.of(dataset)
    if where.crs is None or not where.has_transform:
        raise ConfigError(
            f'{source} has no CRS and transform, so polygons of it would lie nowhere: warp it first'
        )
    return where


def _records(
    batch: Sequence[Region],
    polygons: NDArray[np.object_],
    areas: Float64[np.ndarray, ' n'],
    names: Mapping[int, str],
) -> Iterator[dict[str, Any]]:
    for region, geometry, area in zip(batch, _geometries(polygons), areas, strict=True):
        yield {
            'type': 'Feature',
            'geometry': geometry,
            'properties': {
                'class_id': region.label,
                'class': names.get(region.label, str(region.label)),
                'area_m2': round(float(area), 3),
                **({} if region.mean is None else {'confidence': round(region.mean, 4)}),
            },
        }


def _check(
    source: str | Path, destination: str | Path, min_area_m2: float | int, simplify_px: float | int
) -> Path:
    path = Path(destination)
    if path.suffix.lower() not in DRIVERS:
        raise ConfigError(f'{path}: polygons are written as {", ".join(DRIVERS)}')
    if not path.parent.is_dir():
        raise ConfigError(f'the folder {path.parent} is not there: make it first')
    if not (min_area_m2 >= 0 and simplify_px >= 0):
        raise ConfigError(
            f'min_area_m2 is {min_area_m2}, simplify_px is {simplify_px}: expected 0 or more'
        )
    if (
        '://' not in str(source)
        and not str(source).startswith('/vsi')
        and not Path(source).exists()
    ):
        raise SceneNotFoundError(f'{source} is not there: check the path of the map')
    return path


def _strips(dataset: rasterio.io.DatasetReader) -> Iterator[Integer[np.ndarray, 'h w']]:
    for labels in _read_strips(dataset):
        # the polygoniser knows no unsigned numbers of more than 16 bits
        yield labels if labels.dtype in (np.uint8, np.uint16, np.int16) else labels.astype(np.int32)


def _read_strips(dataset: rasterio.io.DatasetReader) -> Iterator[Shaped[np.ndarray, 'h w']]:
    rows = min(max(_STRIP_PIXELS // dataset.width // 64 * 64, 64), 512)
    for row in range(0, dataset.height, rows):
        window = ((row, min(row + rows, dataset.height)), (0, dataset.width))
        try:
            values = dataset.read(1, window=window)
        except RasterioIOError as error:
            raise SceneError(
                f'{dataset.name}: rows {row} to {window[0][1] - 1} cannot be read ({error}): the '
                'map is damaged, make it again'
            ) from error
        yield values


class _Projector:
    """Polygons from pixels to coordinates, and their areas."""

    def __init__(self, where: Georeference, *, to_wgs84: bool, name: str) -> None:
        assert where.crs is not None
        crs = pyproj.CRS.from_wkt(where.crs.to_wkt())
        geographic = crs.geodetic_crs
        if geographic is None:
            raise ConfigError(
                f'{name} has the local CRS {crs.name!r}, which is not tied to the ground, so its '
                'polygons have no area there: give the map the CRS that it lies in, with '
                'gdal_edit.py -a_srs'
            )
        self._affine = where.transform
        self._degrees = pyproj.Transformer.from_crs(crs, geographic, always_xy=True)
        self._geod = crs.get_geod() or pyproj.Geod(ellps='WGS84')
        self._out: pyproj.Transformer | None = None
        self.crs_wkt = where.crs.to_wkt()
        if to_wgs84:
            try:
                self._out = pyproj.Transformer.from_crs(crs, _WGS84, always_xy=True)
            except ProjError as error:
                raise ConfigError(
                    f'{name} has the CRS {crs.name!r}, and GeoJSON holds degrees of the Earth '
                    f'({error}): choose a name that ends in .gpkg or .fgb'
                ) from error
            self.crs_wkt = CRS.from_user_input(_WGS84).to_wkt()

    def __call__(
        self, polygons: Sequence[shapely.Polygon]
    ) -> tuple[NDArray[np.object_], Float64[np.ndarray, ' n']]:
        """Polygons in coordinates, outlines counterclockwise, and their areas in m²."""
        a, b, c, d, e, f = self._affine[:6]
        placed = shapely.transform(
            np.array(polygons, object),
            lambda at: np.stack(
                [a * at[:, 0] + b * at[:, 1] + c, d * at[:, 0] + e * at[:, 1] + f], 1
            ),
        )
        degrees = _projected(placed, self._degrees)
        areas = np.array([self._area(polygon) for polygon in degrees])
        if self._out is None:
            return shapely.orient_polygons(placed), areas
        return shapely.orient_polygons(in_one_turn(_projected(placed, self._out))), areas

    def _area(self, polygon: shapely.Polygon) -> float:
        # across the antimeridian or a pole, degrees do not tell in which sense a ring runs
        outline, *holes = (
            abs(self._geod.polygon_area_perimeter(*shapely.get_coordinates(ring).T)[0])
            for ring in (polygon.exterior, *polygon.interiors)
        )
        return float(outline - sum(holes))


def _projected(polygons: NDArray[np.object_], to: pyproj.Transformer) -> NDArray[np.object_]:
    return np.asarray(
        shapely.transform(polygons, lambda at: np.stack(to.transform(at[:, 0], at[:, 1]), 1))
    )


def _geometries(polygons: NDArray[np.object_]) -> Iterator[dict[str, Any]]:
    """As GeoJSON has them."""
    if any(isinstance(polygon, shapely.MultiPolygon) for polygon in polygons):
        yield from map(shapely.geometry.mapping, polygons)
        return
    _, at, (rings, outlines) = shapely.to_ragged_array(list(polygons), include_z=False)
    points = at.tolist()
    for first, stop in pairwise(outlines):
        yield {
            'type': 'Polygon',
            'coordinates': [points[rings[ring] : rings[ring + 1]] for ring in range(first, stop)],
        }
