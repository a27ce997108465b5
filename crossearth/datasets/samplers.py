"""Orders in which the windows of a dataset are read.

Samplers take the scenes as they are when they are built: split a dataset first, then sample.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float64
from torch.utils.data import Sampler

from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.errors import ConfigError, WindowError
from crossearth.geometry import Window, window_grid

__all__ = ['GridWindowSampler', 'RandomWindowSampler']


class GridWindowSampler(Sampler[Window]):
    """Every pixel of every scene, in windows on a regular grid.

    Windows are `stride_px` apart and the last of a row or column is moved to end at the border, so
    none overhangs. Given to several processes as shards, each window is read by exactly one of
    them: no window is repeated to even them out, so sums over shards count each once.

    Args:
        dataset: The scenes.
        size_px: Side of a window.
        stride_px: Pixels from one window to the next; by default `size_px`.
        pad: Whether a scene smaller than a window is padded to its size, with label 255.
        shard: Which share of the windows, counted from 0.
        num_shards: Number of shares.

    Raises:
        WindowError: If a scene is smaller than a window and `pad` is off.
        ConfigError: If stride or shard are out of range.
    """

    def __init__(
        self,
        dataset: SceneDataset,
        size_px: int,
        *,
        stride_px: int | None = None,
        pad: bool = False,
        shard: int = 0,
        num_shards: int = 1,
    ) -> None:
        _check_sizes(dataset, size_px, pad=pad)
        _check_shard(shard, num_shards)
        windows = [
            Window(i, window.row, window.col, size_px, size_px)
            for i, scene in enumerate(dataset.scenes)
            for window in window_grid(
                i,
                scene.height,
                scene.width,
                tile_px=size_px,
                stride_px=size_px if stride_px is None else stride_px,
            )
        ]
        self.windows = windows[shard::num_shards]

    def __iter__(self) -> Iterator[Window]:
        return iter(self.windows)

    def __len__(self) -> int:
        return len(self.windows)


class RandomWindowSampler(Sampler[Window]):
    """Windows at random places, in which every pixel of every scene is equally likely.

    A window that must lie inside its scene meets border pixels less often than others (a corner
    pixel in one place of `size_px²`). Two remedies are offered:

    - `border='pad'`: windows may overhang; what lies outside is padding with label 255. Every
      pixel, on a border or not, is drawn with exactly the same probability.
    - `border='shift'`: those windows are moved inside. No pixel is padding and none is drawn
      less often than those in the middle of a large scene, but pixels up to one window away from
      a border are drawn up to twice as often, near a corner up to four times.

    Along an axis as long as a window there is only one place, and both are the same.

    The windows of an epoch depend on nothing but the seed, the epoch and the dataset's sizes.
    `state_dict` taken between two windows and loaded elsewhere continues with the next one.

    Args:
        dataset: The scenes; larger ones are drawn from more often, by area. Domains share the
            windows as the dataset's `domain_weights` say, if it has them.
        size_px: Side of a window.
        length: Windows an epoch, of all shards together; a multiple of `num_shards`.
        seed: Seed of the draws.
        border: What happens at borders.
        pad: Whether a scene smaller than a window is padded to its size, with label 255.
        shard: Which share of each epoch's windows, counted from 0.
        num_shards: Number of shares.

    Raises:
        WindowError: If a scene is smaller than a window and `pad` is off.
        ConfigError: If the length or the shard has no meaning, or the domains of all scenes that a
            split has left have a weight of 0.
    """

    def __init__(
        self,
        dataset: SceneDataset,
        size_px: int,
        *,
        length: int,
        seed: int = 0,
        border: Literal['pad', 'shift'] = 'pad',
        pad: bool = False,
        shard: int = 0,
        num_shards: int = 1,
    ) -> None:
        _check_sizes(dataset, size_px, pad=pad)
        _check_shard(shard, num_shards)
        if length < 1 or length % num_shards:
            raise ConfigError(
                f'length is {length}: expected a positive multiple of num_shards={num_shards}, so '
                'that every process makes the same number of steps'
            )
        self.size_px = size_px
        self.length = length
        self.seed = seed
        if border not in {'pad', 'shift'}:
            raise ConfigError(f"border is {border!r}: choose 'pad' or 'shift'")
        self.border = border
        self.shard = shard
        self.num_shards = num_shards
        self.epoch = 0
        self._done = self._first = 0
        self._shapes = np.array([(scene.height, scene.width) for scene in dataset.scenes])
        self._domain = np.array([dataset.domains.index(s.domain) for s in dataset.scenes])
        weights = dataset.domain_weights
        self._weights = None if weights is None else [weights[name] for name in dataset.domains]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose windows come next, from its first one."""
        self.epoch = epoch
        self._done = self._first = 0

    def state_dict(self) -> dict[str, int]:
        """Where the sampler stands: the epoch, and how many windows of it are done."""
        return {'epoch': self.epoch, 'done': self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where `state_dict` was taken."""
        self.epoch = state['epoch']
        self._done = self._first = state['done']

    def windows(self, epoch: int) -> list[Window]:
        """The windows of one epoch, of this shard."""
        rng = np.random.default_rng((self.seed, epoch))
        size = self.size_px
        single = self._shapes == size
        if self.border == 'shift':
            single |= self._shapes < size
        least = np.where(single, 0, 1 - size)
        most = np.where(single, 0, self._shapes - 1)
        # The one place of an axis that is as long as a window shows each of its pixels; of the
        # places of a longer axis, `size` do.
        places = np.where(single, 1.0, (most - least + 1) / size).prod(axis=1)
        scene = rng.choice(len(places), size=self.length, p=self._shares(places))
        start = rng.integers(least[scene], most[scene], endpoint=True)
        if self.border == 'shift':
            start = np.clip(start, 0, np.maximum(self._shapes[scene] - size, 0))
        return [
            Window(i, row, col, size, size)
            for i, (row, col) in zip(scene.tolist(), start.tolist(), strict=True)
        ][self.shard :: self.num_shards]

    def __iter__(self) -> Iterator[Window]:
        self._done, self._first = self._first, 0
        for window in self.windows(self.epoch)[self._done :]:
            self._done += 1
            yield window
        self.set_epoch(self.epoch + 1)

    def __len__(self) -> int:
        return self.length // self.num_shards

    def _shares(self, places: Float64[np.ndarray, ' n']) -> Float64[np.ndarray, ' n']:
        """How likely each scene is: by its places, within the share of its domain."""
        if self._weights is None:
            even: Float64[np.ndarray, ' n'] = places / places.sum()
            return even
        share: Float64[np.ndarray, ' n'] = places / np.bincount(self._domain, places)[self._domain]
        share = share * np.asarray(self._weights, np.float64)[self._domain]
        if not share.any():
            raise ConfigError(
                'domain_weights choose none of the scenes that a split has left: give a share to '
                'one of their domains'
            )
        share /= share.sum()
        return share


def _check_sizes(dataset: SceneDataset, size_px: int, *, pad: bool) -> None:
    if size_px < 1:
        raise ConfigError(f'size_px is {size_px}: a window has at least 1 pixel a side')
    for scene in dataset.scenes:
        if not pad and min(scene.height, scene.width) < size_px:
            raise WindowError(
                f'{scene.image}: the {"scene" if scene.part is None else "part of the scene"} has '
                f'{scene.height}x{scene.width} pixels, smaller than '
                f'a window of {size_px}: choose size_px up to '
                f'{min(scene.height, scene.width)}, or pad=True'
            )


def _check_shard(shard: int, num_shards: int) -> None:
    if not 0 <= shard < num_shards:
        raise ConfigError(f'shard {shard} of {num_shards}: expected 0 to {num_shards - 1}')
