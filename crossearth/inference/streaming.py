"""Streams one unit of a scene: reading → model → stitching → finished rows.

Reading and stitching run in their own threads, so that the model does not wait for them. Where the
model's threads use every core, only files are read ahead, and the model takes turns with all other
work: two teams of threads on the same cores would wait for each other at every barrier.
"""

import os
import queue
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from crossearth.inference.background import Consumer, Producer
from crossearth.inference.decision import Decision
from crossearth.inference.grid import Grid, Unit
from crossearth.inference.network import Network
from crossearth.inference.rendering import Product, render_rows
from crossearth.inference.scene import OpenScene, RowBuffer
from crossearth.inference.stitching import Stitcher
from crossearth.inference.writer import BLOCK_PX, Layer

__all__ = ['Observe', 'Rows', 'has_core_to_spare', 'stream_unit', 'unit_bytes']

_STAGES = 3  # one being filled, one waiting, one in the model

type Rows = dict[Product, Shaped[np.ndarray, 'c h w']]
type Observe = Callable[[list[Tensor], Bool[np.ndarray, 'h w'], int], None]
"""Receives averaged scores (k, _, w) of finished rows, which pixels have data, and the first row.

The arrays are valid only until it returns."""


@dataclass(slots=True)
class _Stage:
    """Memory for a batch of windows, which is reused: values as in the file, and as images."""

    values: Shaped[np.ndarray, 'b c h w']
    images: Float[Tensor, 'b c h w']
    places: list[tuple[int, int]] = field(default_factory=list)
    done: int = 0  # windows that the reader has passed, including those that it skipped
    copied: torch.cuda.Event | None = None

    def send(self, device: torch.device) -> Float[Tensor, 'b c h w']:
        """The images on the device; `wait` tells when they have been copied."""
        if device.type != 'cuda':
            return self.images
        images = self.images.to(device, non_blocking=True)
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # untyped in torch
        self.copied.record(torch.cuda.current_stream(device))
        return images

    def wait(self) -> None:
        """Wait until the device has copied the images."""
        if self.copied is not None:
            self.copied.synchronize()
            self.copied = None


class _Stages:
    """The stages that are free."""

    def __init__(
        self, grid: Grid, scene: OpenScene, *, batch_size: int, device: torch.device
    ) -> None:
        self._free: queue.SimpleQueue[_Stage | None] = queue.SimpleQueue()
        shape = (batch_size, len(scene.bands), *grid.tile_hw)
        pinned = device.type == 'cuda'
        for _ in range(_STAGES):
            values = np.empty(shape, scene.dtype)
            self._free.put(_Stage(values, torch.zeros(shape, pin_memory=pinned)))

    def take(self) -> _Stage | None:
        """A free stage; None if the work was cancelled."""
        stage = self._free.get()
        if stage is not None:
            stage.wait()
            stage.places, stage.done = [], 0
        return stage

    def give_back(self, stage: _Stage) -> None:
        """Return a stage whose images are no longer needed."""
        self._free.put(stage)

    def close(self) -> None:
        """Cancel, so that a waiting reader returns."""
        self._free.put(None)


def unit_bytes(
    grid: Grid,
    scene: OpenScene,
    *,
    num_classes: int,
    batch_size: int,
    layers: dict[Product, Layer],
) -> tuple[int, int]:
    """Memory of a unit: a fixed amount, and an amount per column.

    The model's own activations are not included.

    Args:
        grid: Windows of the scene.
        scene: Scene that is read.
        num_classes: Number of classes.
        batch_size: Windows per batch.
        layers: Requested rasters.

    Returns:
        Bytes, and bytes per column.
    """
    tile_height, tile_width = grid.tile_hw
    window = tile_height * tile_width * 4
    images = _STAGES * len(scene.bands) * (4 + scene.dtype.itemsize) // 4
    fixed = batch_size * window * (images + 4 * num_classes)
    sums = 4 * num_classes * tile_height
    # one byte more per pixel, for whether it has data
    reading = (scene.dtype.itemsize * len(scene.bands) + 1) * (tile_height + scene.block_hw[0])
    # rows queued for the writer, the writer's own, and probabilities if requested
    bands = sum(layer.count * np.dtype(layer.dtype).itemsize for layer in layers.values())
    finishing = bands * (grid.stride_px * 4 + BLOCK_PX)
    if len(layers) > 1:
        finishing += 3 * 4 * num_classes * grid.stride_px
    return fixed + scene.cache_bytes, sums + reading + finishing


def stream_unit(
    scene: OpenScene,
    grid: Grid,
    unit: Unit,
    network: Network,
    *,
    batch_size: int,
    layers: dict[Product, Layer],
    decision: Decision,
    put: Callable[[Rows], None],
    advance: Callable[[int], None],
    observe: Observe | None = None,
) -> int:
    """Map one unit, and pass on its rows from top to bottom as soon as they are finished.

    The model always sees full batches; the last one is filled up with black windows. The size of a
    batch decides which kernels are chosen, and therefore the last bits of the result.

    Args:
        scene: Open scene; only the reader thread touches it.
        grid: Windows of the scene.
        unit: Part of the scene to map.
        network: The model.
        batch_size: Windows per batch.
        layers: Requested rasters.
        decision: How classes are chosen.
        put: Receives the rows of each raster, (bands, rows, unit width).
        advance: Receives the number of windows done, after each batch.
        observe: Receives the scores of finished rows; None for nobody.

    Returns:
        Number of windows that the model saw. Windows without any data are skipped.
    """
    seen = 0
    valid_rows: dict[int, Bool[np.ndarray, 'h w']] = {}
    rows, cols = grid.touching(unit)
    # allocated here, not in the reader thread, because every thread's own heap grows in pieces
    buffer = RowBuffer(
        scene,
        tile_height=grid.tile_hw[0],
        col0=grid.col_starts[cols.start],
        col1=grid.col_starts[cols.stop - 1] + grid.tile_hw[1],
    )
    stitcher = Stitcher(
        grid,
        unit,
        num_classes=network.count_classes(_image_chw(scene, grid)),
        device=network.device,
    )
    stages = _Stages(grid, scene, batch_size=batch_size, device=network.device)

    def finish(row_index: int) -> None:
        stop = grid.row_starts[row_index + 1] if row_index + 1 < rows.stop else unit.row1
        valid, first = valid_rows.pop(row_index), stitcher.next_row
        # windows that only reach into the unit from above finish none of its rows
        if stop <= first:
            return
        parts = stitcher.finished(stop)
        rendered = render_rows(parts, valid, layers=layers, decision=decision)
        if observe is not None:
            observe(parts, valid, first)
        stitcher.release(stop)
        put(rendered)

    current = rows.start

    @torch.inference_mode()
    def stitch(item: tuple[Tensor | None, _Stage]) -> None:
        nonlocal current
        raw, stage = item
        try:
            scores = () if raw is None else network.scores(raw)
            for window, (row_index, col_index) in zip(scores, stage.places, strict=False):
                while current < row_index:
                    finish(current)
                    current += 1
                stitcher.add(window, row_index=row_index, col_index=col_index)
        finally:
            # only now, because logits may be a view of the images; and even after an error, which
            # is raised when the next batch is handed over, so the reader must be able to make one
            stages.give_back(stage)

    with ExitStack() as stack:
        spare_core = has_core_to_spare(network.device)
        windows = _read_windows(grid, unit, stages, buffer, valid_rows)
        batches = _read_ahead(stack, scene, windows, scale=spare_core)
        # registered after the producer, so called before it joins a reader that waits for a stage
        stack.callback(stages.close)
        hand_over: Callable[[tuple[Tensor | None, _Stage]], None] = stitch
        if spare_core:
            hand_over = stack.enter_context(Consumer(stitch, waiting=1)).put
        for stage in batches:
            images, done = stage.send(network.device), stage.done
            seen += len(stage.places)
            hand_over((network.run(images) if stage.places else None, stage))
            advance(done)
    while current < rows.stop:
        finish(current)
        current += 1
    return seen


def has_core_to_spare(device: torch.device) -> bool:
    """Whether a thread next to the model would have a core that the model leaves free."""
    if device.type != 'cpu':
        return True
    allowed = getattr(os, 'sched_getaffinity', None)  # only on Linux
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return torch.get_num_threads() < cores


def _read_windows(
    grid: Grid,
    unit: Unit,
    stages: _Stages,
    buffer: RowBuffer,
    valid_rows: dict[int, Bool[np.ndarray, 'h w']],
) -> Iterator[_Stage]:
    tile_height, tile_width = grid.tile_hw
    rows, cols = grid.touching(unit)
    left = grid.col_starts[cols.start]
    stage = stages.take()
    for row_index in rows:
        row = grid.row_starts[row_index]
        values, valid = buffer.rows(row, row + tile_height)
        stop = grid.row_starts[row_index + 1] if row_index + 1 < rows.stop else unit.row1
        finished = slice(max(unit.row0 - row, 0), max(stop - row, 0))
        valid_rows[row_index] = valid[finished, unit.col0 - left : unit.col1 - left].copy()
        for col_index in cols:
            if stage is None:
                return
            col = grid.col_starts[col_index] - left
            across = slice(col, col + tile_width)
            window_valid = valid[:, across]
            stage.done += 1
            if not window_valid.any():
                continue
            stage.values[len(stage.places)] = values[:, :, across]
            stage.places.append((row_index, col_index))
            if len(stage.places) == stage.images.shape[0]:
                yield stage
                stage = stages.take()
    if stage is not None:
        yield stage


def _read_ahead(
    stack: ExitStack, scene: OpenScene, windows: Iterator[_Stage], *, scale: bool
) -> Iterator[_Stage]:
    """Read windows in a thread, and make images of them there too, or only where they are taken."""
    into_images = partial(_scale, scene)
    if scale:
        return iter(stack.enter_context(Producer(map(into_images, windows), ahead=1)))
    return map(into_images, stack.enter_context(Producer(windows, ahead=1)))


def _scale(scene: OpenScene, stage: _Stage) -> _Stage:
    """Make a stage's images of its values; places without a window become black."""
    images = stage.images.numpy()  # numpy, as a reader's thread has no inference mode
    for index in range(len(stage.places)):
        scene.scale(stage.values[index], out=images[index])
    images[len(stage.places) :] = 0
    return stage


def _image_chw(scene: OpenScene, grid: Grid) -> tuple[int, int, int]:
    return (len(scene.bands), *grid.tile_hw)
