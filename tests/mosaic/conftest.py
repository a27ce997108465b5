from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine

from crossearth.inference.writer import label_layer
from crossearth.labels import LabelSpace

CROPS = LabelSpace(
    'crops',
    ('background', 'wheat', 'maize'),
    ((0, 0, 0), (250, 220, 90), (30, 160, 60)),
)


@pytest.fixture
def write_map(tmp_path: Path) -> Callable[..., Path]:
    """Writes ids (h, w) as a map of crops, with its corner at `at` in metres of UTM zone 33."""

    def write(
        name: str,
        ids: np.ndarray,
        *,
        at: tuple[float, float] = (400_000, 5_000_000),
        size: float = 1.0,
        labels: LabelSpace = CROPS,
        **options: Any,
    ) -> Path:
        layer = label_layer(labels.num_classes, nodata=255, labels=labels)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        profile = {
            'driver': 'GTiff',
            'count': 1,
            'height': ids.shape[0],
            'width': ids.shape[1],
            'dtype': 'uint8',
            'nodata': 255,
            'crs': 'EPSG:32633',
            'transform': Affine(size, 0, at[0], 0, -size, at[1]),
        }
        with rasterio.open(path, 'w', **(profile | options)) as dataset:
            dataset.write(ids.astype(np.uint8), 1)
            dataset.write_colormap(1, dict(layer.colours))
            dataset.update_tags(**layer.tags)
        return path

    return write


@pytest.fixture
def write_amounts(tmp_path: Path) -> Callable[..., Path]:
    """Writes amounts (k, h, w) from 0 to 1 as `predict_scene` does, on the pixels of a map."""

    def write(name: str, map_path: Path, amounts: np.ndarray) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(map_path) as like:
            profile = like.profile | {'count': len(amounts), 'photometric': 'minisblack'}
        values = np.where(np.isnan(amounts), 255, (amounts * 254).round()).astype(np.uint8)
        with rasterio.open(path, 'w', **profile) as dataset:
            dataset.write(values)
            dataset.scales = (1 / 254,) * len(amounts)
        return path

    return write


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)
