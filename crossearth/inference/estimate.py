"""What mapping a scene would take."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from crossearth.inference.network import Augment
from crossearth.inference.opening import GsdChoice, ReturnBy, open_job, stride_in_px
from crossearth.labels import LabelSpace
from crossearth.rasters import Alpha

__all__ = ['SceneEstimate', 'estimate_scene']


@dataclass(frozen=True, slots=True)
class SceneEstimate:
    """What mapping a scene would take.

    Args:
        height: Rows of the scene.
        width: Columns of the scene.
        model_height: Rows of the grid that the model sees.
        model_width: Columns of the grid that the model sees.
        num_classes: Number of classes.
        windows: Windows that cover it.
        windows_run: Windows that would run, those on the border of two units twice.
        units: Parts that it would be mapped in.
        memory_mb: Memory besides the model's own, in MiB.
        seconds: Time that the model takes, where all of the scene has data.
    """

    height: int
    width: int
    model_height: int
    model_width: int
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
    tile_px: int = 512,
    overlap: float | int = 1 / 3,
    stride_px: int | None = None,
    bands: Sequence[int] | Sequence[str] | None = None,
    alpha: Alpha = 'auto',
    value_range: tuple[float | int, float | int] | None = None,
    labels: LabelSpace | None = None,
    augment: Augment = 'none',
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
    gsd_m: GsdChoice | None = None,
    return_by: ReturnBy = 'nearest',
    memory_mb: int | None = None,
    shard_px: int | None = None,
) -> SceneEstimate:
    """What `predict_scene` would do and take, from three batches of the model and no pixel read.

    Arguments are those of `predict_scene`; `shard_px` is None where nothing is to be resumed.

    Returns:
        The windows, the memory, and the time of the model alone.

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
        >>> estimate = estimate_scene(lambda images: images, path)
        >>> estimate.windows, estimate.units
        (6, 1)
    """
    with ExitStack() as stack:
        opened = open_job(
            stack,
            model,
            source,
            ('labels',),
            tile_px=tile_px,
            stride_px=stride_in_px(tile_px, overlap, stride_px),
            blend='hann',
            combine='softmax',
            bands=bands,
            alpha=alpha,
            value_range=value_range,
            labels=labels,
            nodata=65535,
            augment=augment,
            batch_size=batch_size,
            device=device,
            autocast=autocast,
            gsd_m=gsd_m,
            return_by=return_by,
            on_read_error='raise',
        )
        job, native = opened.job, opened.native
        units = job.units(memory_mb=memory_mb, shard_px=shard_px)
        windows_run = sum(job.windows_of(unit) for unit in units)
        fixed, a_column = job.memory()
        shape = (job.batch_size, len(job.scene.bands), *job.grid.tile_hw)
        images = torch.zeros(shape, device=job.network.device)
        spent = []
        for _ in range(3):
            start = time.perf_counter()
            job.network.run(images).sum().item()  # waits for a device to be done
            spent.append(time.perf_counter() - start)
        return SceneEstimate(
            height=native.height,
            width=native.width,
            model_height=job.scene.height,
            model_width=job.scene.width,
            num_classes=job.num_classes,
            windows=len(job.grid),
            windows_run=windows_run,
            units=len(units),
            memory_mb=-(-(fixed + a_column * max(unit.width for unit in units)) >> 20),
            seconds=min(spent) * windows_run / job.batch_size,
        )
