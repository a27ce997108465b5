"""Estimates accuracies and areas from a labelled sample."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from affine import Affine
from rasterio.errors import RasterioIOError

from crossearth.assessment.estimators import Accuracy, Sample, Strata, assess_sample
from crossearth.assessment.labelled import read_labels
from crossearth.assessment.sample_folder import POINTS, Design, Unit, read_design
from crossearth.errors import ConfigError, LabelError, SceneError
from crossearth.inference.map_files import open_map
from crossearth.inference.writer import class_names
from crossearth.rasters import Georeference, gdal_environment

__all__ = ['Assessment', 'assess_map']


@dataclass(frozen=True, slots=True)
class Assessment:
    """The estimates from a labelled sample of a map.

    Args:
        design: The sample.
        map: Path of the map that was assessed.
        classes: Class names, in the order of `accuracy`.
        accuracy: Estimates; areas are in square metres.
        labelled: Number of labelled units in each stratum.
        strata_are_classes: Whether each stratum lies within one class of the map, so that mapped
            areas are counted and not estimated.
    """

    design: Design
    map: str
    classes: tuple[str, ...]
    accuracy: Accuracy
    labelled: tuple[int, ...]
    strata_are_classes: bool

    @property
    def unlabelled(self) -> int:
        """Number of units without a label."""
        return len(self.design.units) - sum(self.labelled)


def assess_map(
    sample: str | Path,
    *,
    labelled: str | Path | None = None,
    of_map: str | Path | None = None,
    allow_unlabelled: bool = False,
) -> Assessment:
    """Estimate accuracies and areas from a labelled sample.

    Args:
        sample: Folder made by `draw_sample`.
        labelled: Labels, as GeoPackage or CSV; None for the points in the folder.
        of_map: Another map on the same grid, to assess with the same labels. Its classes are
            matched by name. If it names no no-data value, that of the sample counts. None for the
            map that the sample was drawn from.
        allow_unlabelled: Leave out units without a label instead of refusing them. The estimates
            then hold only if the missing units resemble the others of their stratum.

    Raises:
        SceneNotFoundError: If a file does not exist.
        SceneError: If a file is damaged, or the other map is not one band of integers, or marks
            no-data with a mask.
        LabelError: If the labels do not match the sample, or a stratum has fewer than two.
        ConfigError: If the grid of the other map differs, or it has no data at some units.
    """
    folder = Path(sample)
    design = read_design(folder)
    path = folder / POINTS if labelled is None else Path(labelled)
    labels = read_labels(path, design, allow_unlabelled=allow_unlabelled)
    units = [unit for unit in design.units if labels[unit.id] is not None]
    counts = np.bincount([unit.stratum for unit in units], minlength=len(design.strata))
    _check_response(path, design, counts.tolist())
    mapped = (
        [design.classes[unit.class_id] for unit in units]
        if of_map is None
        else _read_classes(of_map, design, units)
    )
    found = (labels[unit.id] for unit in units)
    reference = [design.classes[label] for label in found if label is not None]
    classes = tuple(dict.fromkeys([*design.classes.values(), *mapped]))
    index = {name: position for position, name in enumerate(classes)}
    accuracy = assess_sample(
        Sample(
            np.array([unit.stratum for unit in units]),
            np.array([index[name] for name in mapped]),
            np.array([index[name] for name in reference]),
            np.array([unit.area_m2 for unit in units]),
        ),
        Strata(
            np.array([stratum.area_m2 for stratum in design.strata]),
            np.array([stratum.pixels for stratum in design.strata]),
        ),
        num_classes=len(classes),
    )
    return Assessment(
        design=design,
        map=design.map if of_map is None else str(of_map),
        classes=classes,
        accuracy=accuracy,
        labelled=tuple(counts.tolist()),
        strata_are_classes=of_map is None,
    )


def _check_response(path: Path, design: Design, labelled: list[int]) -> None:
    for stratum, drawn, number in zip(design.strata, design.drawn(), labelled, strict=True):
        if number < min(drawn, 2):
            raise LabelError(
                f'{path}: {number} of {drawn} points of the stratum {stratum.name!r} have a label: '
                'label at least two, because a variance needs two'
            )


def _read_classes(of_map: str | Path, design: Design, units: list[Unit]) -> list[str]:
    """Classes of another map at the units."""
    with gdal_environment(), open_map(of_map) as dataset:
        size = design.height, design.width
        expected = Georeference(design.crs_wkt, Affine(*design.transform))
        if dataset.shape != size or not Georeference.of(dataset).has_same_grid(
            expected, height=size[0], width=size[1]
        ):
            raise ConfigError(
                f'{of_map} has {dataset.height} × {dataset.width} px: '
                f'expected a map on the grid of the sample, {design.height} × {design.width} px '
                'at the same place in the same CRS, so resample it first'
            )
        ids = {}
        try:
            for unit in sorted(units, key=lambda unit: unit.row):  # each block is decoded once
                window = ((unit.row, unit.row + 1), (unit.col, unit.col + 1))
                ids[unit.id] = int(dataset.read(1, window=window)[0, 0])
        except RasterioIOError as error:
            raise SceneError(f'{of_map} cannot be read ({error}): make it again') from error
        nodata = design.nodata if dataset.nodata is None else dataset.nodata
        empty = [number for number, value in ids.items() if value == nodata]
        if empty:
            raise ConfigError(
                f'{of_map} has no data at {len(empty)} of {len(ids)} points, so it does not cover '
                'the whole area: draw a separate sample from it'
            )
        names = dict(design.classes) | class_names(dataset.tags())
    return [names.get(ids[unit.id], f'class {ids[unit.id]}') for unit in units]
