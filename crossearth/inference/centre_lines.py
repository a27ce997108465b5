"""Writes the centre lines of roads as vector files, with lengths and widths."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from crossearth.errors import ConfigError
from crossearth.inference.ground_shapes import GroundShapes, as_geojson, pixel_size_m
from crossearth.inference.line_graph import Line, lines_of
from crossearth.inference.map_files import class_id, open_confidence, open_map
from crossearth.inference.map_lock import only_writer
from crossearth.inference.skeletons import Skeleton, skeleton_of
from crossearth.inference.vector_files import DRIVERS, check_shapes_path, open_shapes
from crossearth.inference.writer import class_names, remove_leftovers, whole_file
from crossearth.labels import LabelSpace
from crossearth.rasters import Georeference, gdal_environment

__all__ = ['LineMap', 'trace_lines']

_WRITE_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class LineMap:
    """The lines that were written.

    Args:
        path: The file.
        lines: Number of lines.
        length_m: Total length in metres on the ground.
        dropped: Number of spurs and short lines that were left out.
        seconds: Wall-clock time.
    """

    path: Path
    lines: int
    length_m: float
    dropped: int
    seconds: float


def trace_lines(
    source: str | Path,
    destination: str | Path,
    *,
    classes: Sequence[str | int] = ('road',),
    labels: LabelSpace | None = None,
    simplify_m: float | int | None = None,
    min_length_m: float | int = 0,
    confidence: str | Path | None = None,
) -> LineMap:
    """Write the centre lines of a class, such as roads, with their lengths and widths.

    The class is thinned to a skeleton, whose ends and junctions become nodes. Each line between two
    nodes has `class_id`, `class`, `length_m` on the ellipsoid, and `width_m`. The width is the area
    closest to the line divided by its length. If a confidence is given, `confidence` is its mean
    along the line. Lines that meet share the point.

    A line with a free end is a spur, and left out, if it is shorter than the class is wide where it
    leaves. Lines without junctions that are shorter than the class is wide are left out as well.
    Lines end up to half a width before the class does, but reach the edge of the map.

    The map is read in strips, which do not affect the result. Memory grows by one strip and about
    200 bytes per skeleton pixel. Maps with more than 20 million such pixels, or with areas so wide
    that 67 million pixels would have to be thinned at once, are refused.

    Args:
        source: Map of class ids, with a CRS and a transform.
        destination: `.gpkg` and `.fgb` in the CRS of the map, `.geojson` in EPSG:4326, where lines
            across the antimeridian are cut in two.
        classes: Class names or ids.
        labels: Class names; None for those stored in the map.
        simplify_m: Points closer than this to the simplified line are left out, in metres at the
            middle of the map. None for one pixel, which straightens pixel staircases.
        min_length_m: Spurs and lines without junctions shorter than this are also left out.
        confidence: The confidence that was written with the map, on the same grid.

    Returns:
        The file and what is in it.

    Raises:
        SceneNotFoundError: If the map does not exist.
        SceneError: If it is not a raster with one integer band, or is damaged.
        ConfigError: If it has no CRS and transform on a body, an argument does not make sense, the
            map is refused, or scikit-image is not installed (`pip install 'crossearth[lines]'`).
        WriteError: If the file cannot be written.
        BusyError: If another program is writing it.
    """
    start = time.perf_counter()
    path = check_shapes_path(destination)
    for name, value in (('simplify_m', simplify_m or 0), ('min_length_m', min_length_m)):
        if not value >= 0:
            raise ConfigError(f'{name} is {value}: expected 0 or more')
    count, dropped, length_m = 0, 0, 0.0
    with ExitStack() as stack:
        stack.enter_context(gdal_environment())
        stack.enter_context(only_writer([path]))
        remove_leftovers(path)
        dataset = stack.enter_context(open_map(source))
        to_wgs84 = DRIVERS[path.suffix.lower()] == 'GeoJSON'
        ground = GroundShapes(Georeference.of(dataset), to_wgs84=to_wgs84, name=str(source))
        sure = None
        if confidence is not None:
            sure = stack.enter_context(open_confidence(confidence, dataset))
        names = class_names(dataset.tags()) if labels is None else dict(enumerate(labels.classes))
        pixel_m = pixel_size_m(ground, dataset.shape)
        ids = [class_id(one, names) for one in classes]
        temporary = stack.enter_context(whole_file(path))
        properties = {'class_id': 'int', 'class': 'str', 'length_m': 'float', 'width_m': 'float'}
        properties |= {} if sure is None else {'confidence': 'float'}
        with open_shapes(
            temporary, path, crs_wkt=ground.crs_wkt, geometry='LineString', properties=properties
        ) as file:
            for label in ids:
                skeleton = skeleton_of(dataset, label, sure=sure)
                lines, left_out = lines_of(
                    skeleton, width=dataset.width, min_length_px=min_length_m / pixel_m
                )
                dropped += left_out
                within_px = 1.0 if simplify_m is None else simplify_m / pixel_m
                name = names.get(label, str(label))
                for batch in batched(lines, _WRITE_AT_ONCE):
                    records = [*_records(batch, skeleton, ground, within_px, (label, name))]
                    file.writerecords(records)
                    count += len(records)
                    length_m += sum(one['properties']['length_m'] for one in records)
    return LineMap(path, count, length_m, dropped, time.perf_counter() - start)


def _records(
    lines: Sequence[Line],
    skeleton: Skeleton,
    ground: GroundShapes,
    within_px: float,
    of_class: tuple[int, str],
) -> Iterator[dict[str, Any]]:
    simple = shapely.simplify([shapely.LineString(line.at) for line in lines], within_px)
    placed, lengths = ground.lines(simple.tolist())
    first = np.stack([line.at[0] for line in lines])
    # the determinant is negative for north-up maps, whose rows run south
    pixel_m2 = np.abs(np.linalg.det(ground.frames(first)))
    for line, geometry, length, area in zip(
        lines, as_geojson(placed), lengths, pixel_m2, strict=True
    ):
        confidence = float(skeleton.confidence[line.pixels].mean())
        yield {
            'type': 'Feature',
            'geometry': geometry,
            'properties': {
                'class_id': of_class[0],
                'class': of_class[1],
                'length_m': round(float(length), 3),
                'width_m': round(line.pixel_area * float(area) / float(length), 3),
                **({} if np.isnan(confidence) else {'confidence': round(confidence, 4)}),
            },
        }
