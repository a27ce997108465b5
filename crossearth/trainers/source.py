"""What a model's file remembers of its source, measured on datasets."""

import torch

from crossearth.datasets import GridWindowSampler, RandomWindowSampler, SceneDataset
from crossearth.models.source import SourceMeter
from crossearth.radiometry import to_unit
from crossearth.source_statistics import SourceStatistics

__all__ = ['measure_source']

_OFTEN = 4  # random windows that show small data well enough, to each that covers them


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
    """How training images look, and how far the model's confidence on others can be believed.

    Args:
        model: Trained; it runs where it lies, in eval mode, and is put back as it was.
        train: Training data, seen without augmentation. Black pixels count as without data.
        val: Labelled scenes that were not trained on; None for no calibration.
        size_px: Side of the windows, or that of the largest scene if it is less; scenes that are
            smaller are padded, which counts nowhere.
        value_range: Pixel values of black and white, where they are not those of the type.
        gsd_m: Pixel sizes that training windows are drawn at, see `RandomWindowSampler`.
        scale: Factors of their size, likewise.
        max_windows: Windows of each of the two, at most; small training data take fewer.
        seed: Chooses them. No global random generator is used.

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
