"""Statistics of the source for a model's file, measured on datasets."""

import torch

from crossearth.datasets import GridWindowSampler, RandomWindowSampler, SceneDataset
from crossearth.models.source import SourceMeter
from crossearth.radiometry import to_unit
from crossearth.source_statistics import SourceStatistics

__all__ = ['measure_source']

_OFTEN = 4  # random windows per window that it takes to cover the data once


def measure_source(
    model: torch.nn.Module,
    train: SceneDataset,
    val: SceneDataset | None,
    *,
    size_px: int,
    value_range: tuple[float, float] | None = None,
    gsd_m: float | tuple[float, float] | None = None,
    scale: float | tuple[float, float] | None = None,
    max_windows: int = 64,
    seed: int = 0,
) -> SourceStatistics:
    """Statistics of the training images, and a calibration of the model's confidence on others.

    Args:
        model: Trained model; it runs on its own device in eval mode, and its mode is restored.
        train: Training data, without augmentation. Black pixels count as no-data.
        val: Held-out labelled scenes; None for no calibration.
        size_px: Side of the windows, or that of the largest scene if it is less. Smaller scenes
            are padded, and the padding is not counted.
        value_range: Pixel values of black and white, if they are not those of the type.
        gsd_m: Pixel sizes at which training windows are drawn, see `RandomWindowSampler`.
        scale: Factors of their size, likewise.
        max_windows: Maximum number of windows of each of the two; small training data take fewer.
        seed: Chooses the windows. No global random generator is used.

    Raises:
        ConfigError: If the training windows are black everywhere.
    """
    meter = SourceMeter(model, seed=seed)
    side = _side(train, size_px)
    enough = sum(_OFTEN * -(-s.height // side) * -(-s.width // side) for s in train.scenes)
    length = min(max_windows, enough)
    for window in RandomWindowSampler(
        train, side, length=length, seed=seed, border='shift', pad=True, gsd_m=gsd_m, scale=scale
    ):
        image = to_unit(train[window]['image'], value_range=value_range)
        meter.add_image(image, (image != 0).any(0))
    if val is not None:
        grid = list(GridWindowSampler(val, _side(val, size_px), pad=True))
        draws = torch.Generator().manual_seed(seed)
        for index in torch.randperm(len(grid), generator=draws)[:max_windows].tolist():
            sample = val[grid[index]]
            meter.add_labelled(to_unit(sample['image'], value_range=value_range), sample['mask'])
    return meter.statistics()


def _side(dataset: SceneDataset, size_px: int) -> int:
    return min(size_px, max(max(scene.height, scene.width) for scene in dataset.scenes))
