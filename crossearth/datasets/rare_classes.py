"""Training windows that contain rare classes more often."""

from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from crossearth.datasets.drawn_pixels import Span
from crossearth.datasets.samplers import RandomWindowSampler, moved
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.errors import ConfigError, LabelError
from crossearth.geometry import ScaledWindow, Window, scaled_start
from crossearth.labels import IGNORE_INDEX

__all__ = ['RareClassSampler', 'class_probabilities']


class RareClassSampler(RandomWindowSampler):
    """Random windows that draw a class first, rare ones more often, then a place that contains it.

    With f_c the share of the labelled pixels that class c has,

    - P(c) = exp((1 − f_c) / T) / Σ exp((1 − f_c') / T), over the classes that occur.

    Scenes are divided into cells of half a window (of the smallest window if sizes are drawn). The
    sampler draws a class. Then it draws, uniformly, one of the cells in which the class has at
    least `min_fraction` of that window's pixels, or one of those with most if none has that many.
    Then it draws, uniformly, a position that contains the whole cell, so each window has that much
    of its class. A larger window of a drawn size has as many pixels of it, which is a smaller
    share.

    When the sampler is built, each process reads all masks once, without their images, which takes
    about a second for 10⁸ pixels of GeoTIFF. It keeps one number for each cell and class. Pixels
    without image data count as in their mask. Draws depend only on the seed, the epoch and these
    numbers, and resume as those of `RandomWindowSampler` do.

    Args:
        dataset: The scenes, labelled.
        size_px: Side of a window.
        length: Windows per epoch, of all shards together; a multiple of `num_shards`.
        temperature: T: towards 0 only the rarest class is drawn, towards ∞ all equally often.
        min_fraction: Smallest share of the window that the drawn class fills.
        seed: Seed of the draws.
        border: Whether windows may overhang a scene (`'pad'`), see `RandomWindowSampler`.
        pad: Whether a scene smaller than a window is padded to its size, with label 255.
        gsd_m: Sizes of the windows' pixels on the ground, see `RandomWindowSampler`.
        scale: Factors of the image's size, likewise.
        shard: Which share of each epoch's windows, counted from 0.
        num_shards: Number of shares.

    Raises:
        WindowError: If a scene is smaller than a window and `pad` is off.
        ConfigError: If an argument is out of range, or the dataset has `domain_weights`, which
            this sampler could not respect.
        LabelError: If no pixel is labelled.
        SceneError: If a scene has no mask.

    Source:
        Hoyer et al., DAFormer, CVPR 2022, arXiv 2111.14887, §3.3 (rare class sampling), T = 0.01,
        at least 3000 of 512² pixels (0.011). There, images are drawn and then cropped until the
        class is visible. Here, scenes are large, so the place is drawn.
    """

    def __init__(
        self,
        dataset: SceneDataset,
        size_px: int,
        *,
        length: int,
        temperature: float = 0.01,
        min_fraction: float = 0.01,
        seed: int = 0,
        border: Literal['pad', 'shift'] = 'pad',
        pad: bool = False,
        gsd_m: Span | None = None,
        scale: Span | None = None,
        shard: int = 0,
        num_shards: int = 1,
    ) -> None:
        super().__init__(
            dataset,
            size_px,
            length=length,
            seed=seed,
            border=border,
            pad=pad,
            gsd_m=gsd_m,
            scale=scale,
            shard=shard,
            num_shards=num_shards,
        )
        if not temperature > 0 or not 0 <= min_fraction <= 0.25:
            raise ConfigError(
                f'temperature={temperature}, min_fraction={min_fraction}: expected a temperature '
                'above 0, and a share of the window up to 0.25, the size of a cell'
            )
        if dataset.domain_weights is not None:
            raise ConfigError(
                'the dataset has domain_weights, but rare classes already decide how often a scene '
                'is drawn: leave one of them out'
            )
        self.temperature = temperature
        finest = 1.0 if self._pixels is None else min(float(self._pixels.limits()[0].min()), 1.0)
        cell_px = max(int(size_px * finest) // 2, 1)
        # scene, first row, first column of each cell, and its pixels of each class
        self.cells, self.counts = _count_cells(dataset, cell_px)
        self._cell_px = cell_px
        total = self.counts.sum(axis=0)
        if not total.any():
            raise LabelError(
                'every pixel of the training masks is ignored: check the codec and the label space'
            )
        self.frequencies: Float64[np.ndarray, ' k'] = total / total.sum()
        self.probabilities = class_probabilities(self.frequencies, temperature)
        fills = min_fraction * (size_px * finest) ** 2
        least = np.minimum(np.ceil(max(fills, 1)), self.counts.max(axis=0))
        self._shown = [
            np.flatnonzero(self.counts[:, k] >= least[k]) if total[k] else np.empty(0, np.int64)
            for k in range(len(total))
        ]

    def windows(self, epoch: int) -> list[Window | ScaledWindow]:
        """The windows of one epoch, of this shard."""
        rng = np.random.default_rng((self.seed, epoch))
        size = self.size_px
        classes = rng.choice(len(self.probabilities), size=self.length, p=self.probabilities)
        numbers = np.array([len(self._shown[k]) for k in classes])
        picks = rng.integers(numbers)
        cells = np.array([self._shown[k][i] for k, i in zip(classes, picks, strict=True)])
        scene, first = self.cells[cells, 0], self.cells[cells, 1:]
        shapes, steps = self._shapes[scene], None
        last = np.minimum(first + self._cell_px, shapes)
        # starts from which a window contains the whole cell
        start = rng.integers(last - size, first, endpoint=True)
        if self._pixels is not None:
            steps, within = self._sizes(epoch, scene)
            shapes, corner = self._seen(steps, scene), self._corners[scene]
            origin = scaled_start(corner, steps)
            low = np.ceil((last + corner) / steps).astype(np.int64) - origin - size
            high = np.floor((first + corner) / steps).astype(np.int64) - origin
            # rounding may put the last place before the first
            now = low, np.maximum(low, high)
            start = moved(start, within, (last - size, first), now)
        if self.border == 'pad':
            # along an axis that is not longer than a window there is only one place
            start = np.where(shapes <= size, 0, start)
        return self._windows(scene, start, steps)


def class_probabilities(
    frequencies: Float64[np.ndarray, ' k'], temperature: float
) -> Float64[np.ndarray, ' k']:
    """P(c) of the classes; 0 for those that never occur.

    Args:
        frequencies: f_c, shares of the labelled pixels.
        temperature: T, above 0.

    Example:
        >>> class_probabilities(np.array([0.9, 0.1, 0.0]), 1.0).round(3).tolist()
        [0.31, 0.69, 0.0]
    """
    occurs = frequencies > 0
    score = np.where(occurs, (1 - frequencies) / temperature, -np.inf)
    # less the maximum, because exp((1 − f) / T) overflows for a small T
    weights = np.exp(score - score.max())
    probabilities: Float64[np.ndarray, ' k'] = weights / weights.sum()
    return probabilities


def _count_cells(
    dataset: SceneDataset, cell_px: int
) -> tuple[Int64[np.ndarray, 'n 3'], Int64[np.ndarray, 'n k']]:
    """Cells of all scenes, and the pixels of each class in them, by one pass over the masks."""
    num_classes = dataset.labels.num_classes
    cells, counts = [], []
    for index, scene in enumerate(dataset.scenes):
        cols = np.arange(scene.width) // cell_px
        for row in range(0, scene.height, cell_px):
            height = min(cell_px, scene.height - row)
            ids = dataset.read_labels(Window(index, row, 0, height, scene.width))
            known = ids != IGNORE_INDEX
            # cell and class in one number, so that one `bincount` serves a whole row of cells
            bins = (cols * num_classes + ids)[known]
            found = np.bincount(bins, minlength=(cols[-1] + 1) * num_classes)
            counts.append(found.reshape(-1, num_classes))
            cells.append([(index, row, int(col) * cell_px) for col in range(cols[-1] + 1)])
    return np.concatenate(cells).astype(np.int64), np.concatenate(counts).astype(np.int64)
