from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from torch import Tensor

UTM = {'crs': 'EPSG:32633', 'transform': Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)}


@pytest.fixture
def write_scene(tmp_path: Path) -> Callable[..., Path]:
    """Writes an array (c, h, w) as a GeoTIFF in a UTM zone, or as told."""

    def write(values: np.ndarray, name: str = 'scene.tif', **options: Any) -> Path:
        path = tmp_path / name
        count, height, width = values.shape
        profile = {
            'driver': 'GTiff',
            'count': count,
            'height': height,
            'width': width,
            'dtype': values.dtype.name,
        }
        with rasterio.open(path, 'w', **(profile | UTM | options)) as dataset:
            dataset.write(values)
        return path

    return write


@pytest.fixture
def one_hot() -> Callable[[int], Callable[[Tensor], Tensor]]:
    """Makes a model that gives back its image: class = value of a uint8 band."""

    def make(num_classes: int) -> Callable[[Tensor], Tensor]:
        def model(images: Tensor) -> Tensor:
            ids = (images[:, 0] * 255).round().long()
            return torch.nn.functional.one_hot(ids, num_classes).movedim(-1, 1).float() * 10

        return model

    return make


@pytest.fixture
def convolutions() -> torch.nn.Module:
    """A small net with seeded weights whose logits depend on a neighbourhood."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 5, 3, padding=1),
        ).eval()
