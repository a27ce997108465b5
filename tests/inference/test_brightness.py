"""A scene that is nearly black to a model because of its data type is remarked on."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from crossearth.appearance import Appearance
from crossearth.imagery import Imagery
from crossearth.inference import View, Windows, predict_scene
from crossearth.source_statistics import SourceStatistics

type Write = Callable[..., Path]

REMARK = 'values fill little of 0 to'
DARK_TRAINING = SourceStatistics(Appearance((0.02,), (0.01,), ((0.0,) * 5,), None, 1))


def grains(mean: int, dtype: str) -> np.ndarray:
    """Values around a mean, with a quarter without data."""
    pixels = np.random.default_rng(0).integers(mean // 2, mean * 3 // 2, (1, 64, 64))
    pixels[:, :32, :32] = 0
    return pixels.astype(dtype)


@pytest.mark.parametrize(
    ('pixels', 'known', 'view', 'is_dark'),
    [
        (grains(1500, 'uint16'), Imagery(), View(), True),  # reflectance times 10,000
        (grains(1500, 'int16'), Imagery(), View(), True),
        (grains(20_000, 'uint16'), Imagery(), View(), False),
        (grains(1500, 'uint16'), Imagery(), View(value_range=(0, 3000)), False),
        (grains(1500, 'uint16'), Imagery(value_range=(0, 3000)), View(), False),
        (grains(1500, 'uint16'), Imagery(source=DARK_TRAINING), View(), False),
        (grains(1500, 'uint16') * 0, Imagery(), View(), False),  # no data at all
        (grains(4, 'uint8'), Imagery(), View(), False),  # a night of bytes is a night
    ],
)
@pytest.mark.parametrize('scales', [(1,), (1, 0.5)])
def test_a_dark_scene_of_wide_integers_is_remarked_on_and_no_other(
    pixels: np.ndarray,
    known: Imagery,
    view: View,
    is_dark: bool,
    scales: tuple[float, ...],
    write_raster: Write,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = nn.Conv2d(1, 2, 1)
    model.imagery = known  # type: ignore[assignment]  # as of load_model
    scene = write_raster('a.tif', pixels)
    windows = Windows(tile_px=16, scales=scales)
    made = predict_scene(model, scene, tmp_path / 'm.tif', view=view, windows=windows)
    assert (REMARK in made.seen) == is_dark
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == is_dark
    if is_dark:
        assert f'{pixels.dtype} {REMARK} {np.iinfo(pixels.dtype).max}' in made.seen
        assert '--value-range LOW HIGH' in warned[0]
