"""A map of three classes whose truth is known, and its labels."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossearth.assessment import Design
from crossearth.labels import LabelSpace

THREE = LabelSpace('three', ('field', 'wood', 'water'), ((9, 9, 9), (0, 99, 0), (0, 0, 99)))
NODATA_ROWS = 5


def true_classes() -> np.ndarray:
    """120 × 90 pixels: field with a wood in the middle, and a narrow water at the right."""
    truth = np.zeros((120, 90), np.uint8)
    truth[30:90, 20:60] = 1
    truth[:, 84:] = 2
    return truth


def mapped_classes() -> np.ndarray:
    """The truth with the wood 3 pixels too far down, and no data in the first rows."""
    mapped = true_classes()
    mapped[30:90, 20:60] = 0
    mapped[33:93, 20:60] = 1
    mapped[:NODATA_ROWS] = 255
    return mapped


@pytest.fixture
def write_map(write_raster: Callable[..., Path]) -> Callable[..., Path]:
    """A function that writes class ids with their names, 255 as nodata."""
    import rasterio

    def write(name: str, classes: np.ndarray, **profile: object) -> Path:
        path = write_raster(name, classes[None], nodata=255, **profile)
        with rasterio.open(path, 'r+') as file:
            file.update_tags(**{f'CLASS_{i}': name for i, name in enumerate(THREE.classes)})
        return path

    return write


@pytest.fixture
def three_classes(write_map: Callable[..., Path]) -> Path:
    return write_map('map.tif', mapped_classes())


def write_labels(path: Path, design: Design, *, leave_out: int = 0) -> Path:
    """What a labeller who knows the truth hands back; the last points stay empty."""
    truth = true_classes()
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['id', 'label'])
        for number, unit in enumerate(design.units):
            known = number < len(design.units) - leave_out
            label = THREE.classes[truth[unit.row, unit.col]] if known else ''
            writer.writerow([unit.id, label])
    return path
