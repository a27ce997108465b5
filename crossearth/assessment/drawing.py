"""Draws a sample from a map, and writes a folder for labelling it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from crossearth.assessment.chips import write_chips
from crossearth.assessment.design import MIN_PER_STRATUM, allocate, sample_size
from crossearth.assessment.qgis_project import write_project
from crossearth.assessment.sample_folder import Design, Unit, new_folder, write_design, write_points
from crossearth.assessment.stratified_map import Pixels, StratifiedMap, Stratum
from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace
from crossearth.rasters import gdal_environment
from crossearth.rasters.opening import is_remote

__all__ = ['SampleSize', 'draw_sample']


@dataclass(frozen=True, slots=True)
class SampleSize:
    """How many pixels to draw.

    Args:
        n: Number of pixels; None to derive it from the standard error.
        standard_error: Wanted standard error of the overall accuracy. 0.02 gives an interval of
            about ± 0.04.
        expected_accuracy: Share of the map that you expect to be correct, from 0 to 1.
        expected_of: The same for single classes, by name.
        least: Minimum number of pixels per stratum, however small it is.
    """

    n: int | None = None
    standard_error: float | int = 0.02
    expected_accuracy: float | int = 0.8
    expected_of: Mapping[str, float | int] = field(default_factory=dict)
    least: int = MIN_PER_STRATUM


def draw_sample(
    source: str | Path,
    destination: str | Path,
    *,
    size: SampleSize | None = None,
    confidence: str | Path | None = None,
    edges: Sequence[float] = (),
    scene: str | Path | None = None,
    chip_px: int = 256,
    labels: LabelSpace | None = None,
    nodata: int | None = None,
    seed: int = 0,
) -> Design:
    """Draw a stratified random sample of a map's pixels, and write a folder for labelling them.

    Strata are the classes of the map or, with a confidence, its classes split by confidence. In
    each stratum, pixels are drawn without replacement and with equal probability. Pixels without
    data are never drawn. The same map and seed give the same sample.

    The folder holds `points.gpkg` with empty labels, `labelling.qgz` for QGIS, `chips/` if a scene
    is given, and `design.json` and `key.csv`, which the report needs. Only `key.csv` holds the
    mapped class of a point, so that nobody sees it while labelling. The folder appears under its
    name only when it is complete.

    Args:
        source: GeoTIFF of class ids, with a CRS and a transform.
        destination: Folder to create.
        size: How many pixels to draw; None for `SampleSize()`.
        confidence: Raster of confidence on the grid of the map.
        edges: Confidences that split each class, from 0 to 1.
        scene: The image that was mapped, for chips around the points.
        chip_px: Side of the chips, in pixels of the scene.
        labels: Class names; None for those in the map.
        nodata: No-data value; None for the map's own.
        seed: Seed of the random draw.

    Returns:
        The sample.

    Raises:
        SceneNotFoundError: If a file does not exist.
        SceneError: If the map cannot be read, or has no data.
        ConfigError: If the folder exists, or an argument does not make sense for this map.
    """
    if seed < 0:
        raise ConfigError(f'the seed is {seed}: expected a whole number from 0 upwards')
    with (
        new_folder(Path(destination)) as folder,
        gdal_environment(),
        StratifiedMap(
            source, confidence=confidence, edges=edges, labels=labels, nodata=nodata
        ) as of_map,
    ):
        strata = of_map.count()
        _check_names(of_map.classes)
        sizes = _sizes(strata, of_map.classes, size or SampleSize())
        generator = np.random.default_rng(seed)
        pixels = of_map.draw(sizes, generator)
        # shuffled ids, which reveal nothing about the stratum
        order = generator.permutation(len(pixels.rows))
        pixels = Pixels(*(values[order] for values in pixels))
        design = Design(
            map=_absolute(source),
            scene=None if scene is None else _absolute(scene),
            classes=of_map.classes,
            strata=strata,
            units=tuple(
                Unit(
                    number, int(stratum), int(row), int(col), strata[stratum].class_id, float(area)
                )
                for number, (stratum, row, col, area) in enumerate(
                    zip(*pixels, of_map.areas_of(pixels), strict=True), start=1
                )
            ),
            height=of_map.height,
            width=of_map.width,
            crs_wkt=of_map.georeference.crs_wkt or '',
            transform=tuple(of_map.georeference.transform)[:6],
            seed=seed,
            nodata=of_map.nodata,
        )
        write_design(folder, design)
        chips = {}
        if scene is not None:
            chips = write_chips(folder, design, scene, chip_px=chip_px)
        write_points(folder, design, chips)
        write_project(folder, design)
    return design


def _absolute(name: str | Path) -> str:
    return str(name) if is_remote(str(name)) else str(Path(name).resolve())


def _sizes(
    strata: Sequence[Stratum], classes: Mapping[int, str], size: SampleSize
) -> Int64[np.ndarray, ' s']:
    areas = np.array([stratum.area_m2 for stratum in strata])
    unknown = sorted(size.expected_of.keys() - set(classes.values()))
    if unknown:
        raise ConfigError(
            f'accuracies are given for {", ".join(unknown)}: expected only the classes '
            f'{", ".join(classes.values())}'
        )
    n = size.n
    if n is None:
        expected = [
            size.expected_of.get(classes[stratum.class_id], size.expected_accuracy)
            for stratum in strata
        ]
        n = sample_size(areas, np.array(expected, float), standard_error=size.standard_error)
    pixels = np.array([stratum.pixels for stratum in strata])
    return allocate(areas, pixels, n=n, least=size.least)


def _check_names(classes: Mapping[int, str]) -> None:
    names = list(classes.values())
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f'several classes of the map are named {", ".join(twice)}, so labels would be '
            'ambiguous: pass labels with a different name for each class'
        )
