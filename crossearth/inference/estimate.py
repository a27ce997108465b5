"""Estimates the time and memory that mapping a scene takes."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from crossearth.inference.model_output import ModelOutput
from crossearth.inference.prepared_map import prepare_map
from crossearth.inference.request import MapRequest, Outputs, Running, View, Windows
from crossearth.inference.scene_mapper import SceneMapper
from crossearth.labels import LabelSpace

__all__ = ['SceneEstimate', 'estimate_scene']


@dataclass(frozen=True, slots=True)
class SceneEstimate:
    """The time and memory that mapping a scene would take.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        model_height: Rows of the grid that the model sees, at the first scale.
        model_width: Columns of the grid that the model sees, at the first scale.
        seen: One line on the size of the scene's pixels, what the model sees, and why.
        num_classes: Number of classes.
        windows: Windows that cover the scene, at all scales.
        windows_run: Windows that would run; those on the border of two units run twice.
        units: Parts in which the scene would be mapped.
        memory_mb: Memory in MiB, not counting the model.
        seconds: Time that the model takes if the whole scene has data.
    """

    height: int
    width: int
    model_height: int
    model_width: int
    seen: str
    num_classes: int
    windows: int
    windows_run: int
    units: int
    memory_mb: int
    seconds: float


def estimate_scene(
    model: nn.Module | Callable[[Tensor], Tensor],
    source: str | Path,
    *,
    labels: LabelSpace | None = None,
    windows: Windows = Windows(),
    view: View = View(),
    outputs: Outputs = Outputs(),
    running: Running = Running(),
    model_output: ModelOutput = ModelOutput(),
) -> SceneEstimate:
    """Estimate what `predict_scene` would take, by running three batches and reading no pixels.

    The arguments are those of `predict_scene`.

    Returns:
        The number of windows, the memory, and the time of the model alone.

    Raises:
        CrossEarthError: As `predict_scene`.

    Example:
        >>> import tempfile, numpy as np, rasterio
        >>> path = Path(tempfile.mkdtemp()) / 'a.tif'
        >>> with rasterio.open(
        ...     path, 'w', width=900, height=700, count=1, dtype='uint8', crs='EPSG:32633',
        ...     transform=rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 5e6),
        ... ) as scene:
        ...     scene.write(np.ones((1, 700, 900), 'uint8'))
        >>> estimate = estimate_scene(lambda images: images.repeat(1, 2, 1, 1) - 0.3, path)
        >>> estimate.windows, estimate.units
        (6, 1)
    """
    with ExitStack() as stack:
        request = MapRequest(labels, windows, view, outputs, running, model_output)
        prepared = prepare_map(stack, model, source, request)
        mappers, native = prepared.mappers, prepared.native
        costs = [_cost(mapper, running) for mapper in mappers]
        return SceneEstimate(
            height=native.height,
            width=native.width,
            model_height=mappers[0].scene.height,
            model_width=mappers[0].scene.width,
            seen=str(prepared.seeing),
            num_classes=mappers[0].num_classes,
            windows=sum(len(mapper.grid) for mapper in mappers),
            windows_run=sum(cost.windows_run for cost in costs),
            units=sum(cost.units for cost in costs),
            memory_mb=max(cost.memory_mb for cost in costs),
            seconds=sum(cost.seconds for cost in costs),
        )


class _Cost(NamedTuple):
    """What one grid takes."""

    windows_run: int
    units: int
    memory_mb: int
    seconds: float


def _cost(mapper: SceneMapper, running: Running) -> _Cost:
    units = mapper.units(running)
    windows_run = sum(mapper.windows_of(unit) for unit in units)
    fixed, a_column = mapper.memory()
    shape = (mapper.batch_size, len(mapper.scene.bands), *mapper.grid.tile_hw)
    images = torch.zeros(shape, device=mapper.network.device)
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        mapper.network.run(images).sum().item()  # item() waits until the device is done
        spent.append(time.perf_counter() - start)
    return _Cost(
        windows_run,
        len(units),
        -(-(fixed + a_column * max(unit.width for unit in units)) >> 20),
        min(spent) * windows_run / mapper.batch_size,
    )
