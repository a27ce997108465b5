"""The order in which the windows of a dataset are read.

Samplers use the scenes at the time when they are built: split a dataset first, then sample.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64
from torch.utils.data import Sampler

from crossearth.datasets.drawn_pixels import DrawnPixels, Span
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.describing import arguments_of, plural
from crossearth.errors import ConfigError, WindowError
from crossearth.geometry import ScaledWindow, Window, scaled_start, window_grid

__all__ = ['GridWindowSampler', 'RandomWindowSampler', 'moved']

type Shapes = Int64[np.ndarray, 'n 2']

_SIZES = 0x51235  # a separate stream, so that drawing sizes does not move the places


class GridWindowSampler(Sampler[Window]):
    """Every pixel of every scene, in windows on a regular grid.

    Windows are `stride_px` apart. The last one of a row or column is moved to end at the border, so
    none overhangs. With shards for several processes, exactly one of them reads each window. No
    window is repeated to even out their numbers, so sums over shards count each once.

    Args:
        dataset: The scenes.
        size_px: Side of a window.
        stride_px: Pixels from one window to the next; `size_px` by default.
        pad: Whether a scene smaller than a window is padded to its size, with label 255.
        shard: Which share of the windows, counted from 0.
        num_shards: Number of shares.

    Raises:
        WindowError: If a scene is smaller than a window and `pad` is off.
        ConfigError: If stride or shard is out of range.
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

    def __repr__(self) -> str:
        return f'{type(self).__name__}({plural(len(self), "window")})'

    def __iter__(self) -> Iterator[Window]:
        return iter(self.windows)

    def __len__(self) -> int:
        return len(self.windows)


class RandomWindowSampler(Sampler[Window | ScaledWindow]):
    """Windows at random places, in which every pixel of every scene is equally likely.

    A window that must lie inside its scene contains border pixels less often than others (a corner
    pixel in one place of `size_px²`). There are two remedies:

    - `border='pad'`: windows may overhang, and what lies outside is padding with label 255. Every
      pixel, on a border or not, is drawn with exactly the same probability.
    - `border='shift'`: overhanging windows are moved inside. There is no padding, and no pixel is
      drawn less often than those in the middle of a large scene. But pixels up to one window away
      from a border are drawn up to twice as often, near a corner up to four times.

    Along an axis as long as a window there is only one place, and both are the same.

    With `gsd_m` or `scale`, a pixel size is drawn for each window, see `DrawnPixels`. The same then
    holds at every size: among pixels of that size, each is equally likely. Sizes and places come
    from separate streams, so a window lies where it would lie without a drawn size: the smaller of
    the two is inside the larger, to within a pixel.

    The windows of an epoch depend only on the seed, the epoch and the sizes of the dataset.
    `state_dict` taken between two windows and loaded elsewhere continues with the next one.

    Args:
        dataset: The scenes; larger ones are drawn more often, by area. If the dataset has
            `domain_weights`, domains share the windows accordingly.
        size_px: Side of a window.
        length: Windows per epoch, of all shards together; a multiple of `num_shards`.
        seed: Seed of the draws.
        border: What happens at borders.
        pad: Whether a scene smaller than a window is padded to its size, with label 255.
        gsd_m: Smallest and largest side of the windows' pixels on the ground, in metres, from which
            each window draws one log-uniformly, or one for all; None for the scenes' own pixels.
        scale: Smallest and largest factor of the image's size, drawn in the same way. 3 shows a
            third of the ground, three times as large as in the scene's own pixels; 0.5 shows twice
            as much, at half the size.
        shard: Which share of each epoch's windows, counted from 0.
        num_shards: Number of shares.

    Raises:
        WindowError: If a scene is smaller than a window, at the largest pixels, and `pad` is off.
        ConfigError: If the length or the shard is out of range, all scenes that remain after a
            split are in domains of weight 0, or sizes cannot be drawn, see `DrawnPixels`.
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
        gsd_m: Span | None = None,
        scale: Span | None = None,
        shard: int = 0,
        num_shards: int = 1,
    ) -> None:
        _check_sizes(dataset, size_px, pad=pad or gsd_m is not None or scale is not None)
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
            raise ConfigError(f"border is {border!r}: expected 'pad' or 'shift'")
        self.border = border
        self.shard = shard
        self.num_shards = num_shards
        self.epoch = 0
        self._done = self._first = 0
        self._shapes = np.array([(scene.height, scene.width) for scene in dataset.scenes])
        self._corners = np.array(
            [(0, 0) if s.part is None else (s.part.row, s.part.col) for s in dataset.scenes]
        )
        self._pixels: DrawnPixels | None = None
        if gsd_m is not None or scale is not None:
            self._pixels = DrawnPixels(dataset, gsd_m=gsd_m, scale=scale)
            self._pixels.check_sizes(self._corners, self._shapes, size_px=size_px, pad=pad)
        self._domain = np.array([dataset.domains.index(s.domain) for s in dataset.scenes])
        weights = dataset.domain_weights
        self._weights = None if weights is None else [weights[name] for name in dataset.domains]

    def __repr__(self) -> str:
        return f'{type(self).__name__}({arguments_of(self)})'

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next windows, and start at its first one."""
        self.epoch = epoch
        self._done = self._first = 0

    def state_dict(self) -> dict[str, int]:
        """The position of the sampler: the epoch, and how many of its windows are done."""
        return {'epoch': self.epoch, 'done': self._done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where `state_dict` was taken."""
        self.epoch = state['epoch']
        self._done = self._first = state['done']

    def windows(self, epoch: int) -> list[Window | ScaledWindow]:
        """The windows of one epoch, of this shard."""
        rng = np.random.default_rng((self.seed, epoch))
        # scenes of several pixel sizes are chosen by their area on the ground
        shapes = self._shapes if self._pixels is None else self._seen(self._pixels.common())
        least, most = self._starts(shapes)
        # An axis as long as a window has one place, which shows each of its pixels. On a longer
        # axis, `size_px` of the places show a pixel.
        places = np.where(most == least, 1.0, (most - least + 1) / self.size_px).prod(axis=1)
        scene = rng.choice(len(places), size=self.length, p=self._shares(places))
        start = rng.integers(least[scene], most[scene], endpoint=True)
        if self._pixels is None:
            return self._windows(scene, start)
        steps, within = self._sizes(epoch, scene)
        now = self._starts(self._seen(steps, scene))
        return self._windows(scene, moved(start, within, (least[scene], most[scene]), now), steps)

    def _sizes(
        self, epoch: int, scene: Int64[np.ndarray, ' n']
    ) -> tuple[Float64[np.ndarray, 'n 2'], Float64[np.ndarray, 'n 2']]:
        """Pixel sizes of an epoch's windows, and how far within its place each starts."""
        assert self._pixels is not None
        rng = np.random.default_rng((self.seed, epoch, _SIZES))
        return self._pixels.draw(scene, rng), rng.random((len(scene), 2))

    def _starts(self, shapes: Shapes) -> tuple[Shapes, Shapes]:
        """First and last row and column at which a window can start in scenes of these shapes."""
        single = shapes == self.size_px
        if self.border == 'shift':
            single |= shapes < self.size_px
        # Overhanging starts are drawn for both borders. 'shift' moves them inside afterwards, so
        # that windows of both lie in the same places where they do not overhang.
        return np.where(single, 0, 1 - self.size_px), np.where(single, 0, shapes - 1)

    def _seen(
        self, steps: Float64[np.ndarray, 'n 2'], scene: Int64[np.ndarray, ' n'] | None = None
    ) -> Shapes:
        """Rows and columns of scenes, all or some, in pixels of another size."""
        chosen = slice(None) if scene is None else scene
        first, shapes = self._corners[chosen], self._shapes[chosen]
        seen: Shapes = scaled_start(first + shapes, steps) - scaled_start(first, steps)
        return seen

    def _windows(
        self,
        scene: Int64[np.ndarray, ' n'],
        start: Shapes,
        steps: Float64[np.ndarray, 'n 2'] | None = None,
    ) -> list[Window | ScaledWindow]:
        """The windows of this shard, moved inside for `border='shift'`."""
        size = self.size_px
        if self.border == 'shift':
            seen = self._shapes[scene] if steps is None else self._seen(steps, scene)
            start = np.clip(start, 0, np.maximum(seen - size, 0))
        all_steps = np.ones(start.shape) if steps is None else steps
        windows: list[Window | ScaledWindow] = []
        # `Window` takes integers of Python only, not those of NumPy
        for i, (row, col), step in zip(
            scene.tolist(), start.tolist(), all_steps.tolist(), strict=True
        ):
            window = Window(i, row, col, size, size)
            windows.append(window if step == [1, 1] else ScaledWindow(window, *step))
        return windows[self.shard :: self.num_shards]

    def __iter__(self) -> Iterator[Window | ScaledWindow]:
        self._done, self._first = self._first, 0
        for window in self.windows(self.epoch)[self._done :]:
            self._done += 1
            yield window
        self.set_epoch(self.epoch + 1)

    def __len__(self) -> int:
        return self.length // self.num_shards

    def _shares(self, places: Float64[np.ndarray, ' n']) -> Float64[np.ndarray, ' n']:
        """The probability of each scene: by its places, within the share of its domain."""
        if self._weights is None:
            even: Float64[np.ndarray, ' n'] = places / places.sum()
            return even
        share: Float64[np.ndarray, ' n'] = places / np.bincount(self._domain, places)[self._domain]
        share = share * np.asarray(self._weights, np.float64)[self._domain]
        if not share.any():
            raise ConfigError(
                'domain_weights choose none of the scenes that remain after a split: set a weight '
                'for one of their domains'
            )
        share /= share.sum()
        return share


def moved(
    start: Shapes,
    within: Float64[np.ndarray, 'n 2'],
    before: tuple[Shapes, Shapes],
    now: tuple[Shapes, Shapes],
) -> Shapes:
    """Move starts of windows to the same relative positions along other axes.

    Args:
        start: Starts among the places before.
        within: How far within its place each starts, in [0, 1).
        before: First and last place of each.
        now: First and last place of each, in pixels of another size.
    """
    done = (start - before[0] + within) / (before[1] - before[0] + 1)
    last = now[1] - now[0]
    # the minimum guards against rounding: `done` may come out as 1
    whole: Shapes = (now[0] + np.minimum(np.floor(done * (last + 1)), last)).astype(np.int64)
    return whole


def _check_sizes(dataset: SceneDataset, size_px: int, *, pad: bool) -> None:
    if size_px < 1:
        raise ConfigError(f'size_px is {size_px}: expected at least 1 pixel')
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
