"""From what is asked for to an open job."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.imagery import Imagery, imagery_of
from crossearth.inference.grid import Blend, Grid
from crossearth.inference.job import Job
from crossearth.inference.network import Augment, Combine, Network, evaluating, model_device
from crossearth.inference.products import Product, probability_layer, score_layer
from crossearth.inference.scene import OnReadError, OpenScene, describe_scene
from crossearth.inference.writer import BLOCK_PX, Layer, check_destination, label_layer
from crossearth.labels import LabelSpace
from crossearth.rasters import Alpha, Raster, gdal_environment, resampled

__all__ = [
    'GsdChoice',
    'Opened',
    'ReturnBy',
    'check_shards',
    'open_job',
    'output_paths',
    'stride_in_px',
]

type ReturnBy = Literal['nearest', 'bilinear']
type GsdChoice = float | int | Literal['native']


@dataclass(frozen=True, slots=True)
class Opened:
    """A job whose scene and model are ready.

    Args:
        job: The work on the grid that the model sees.
        native: The scene on its own grid; that of the job if the model sees it so.
        layers: Rasters that are asked for. The job makes others where these come of a step
            between two grids.
        labels: The classes, if they are known.
    """

    job: Job
    native: OpenScene
    layers: dict[Product, Layer]
    labels: LabelSpace | None

    @property
    def is_resampled(self) -> bool:
        """Whether the model sees another grid than the scene's own."""
        return self.job.scene is not self.native


def open_job(
    stack: ExitStack,
    model: nn.Module | Callable[[Tensor], Tensor],
    source: str | Path,
    products: Iterable[Product],
    *,
    tile_px: int,
    stride_px: int,
    blend: Blend,
    combine: Combine,
    bands: Sequence[int] | Sequence[str] | None,
    alpha: Alpha,
    value_range: tuple[float | int, float | int] | None,
    labels: LabelSpace | None,
    nodata: int,
    augment: Augment,
    batch_size: int | None,
    device: torch.device | str | None,
    autocast: torch.dtype | None,
    gsd_m: GsdChoice | None,
    return_by: ReturnBy,
    on_read_error: OnReadError,
) -> Opened:
    """The work, and the scene on its own grid, open until the stack unwinds.

    Arguments are those of `predict_scene`, products the rasters that are asked for.
    """
    if return_by not in ('nearest', 'bilinear'):
        raise ConfigError(f"return_by is {return_by!r}: choose 'nearest' or 'bilinear'")
    if batch_size is not None and batch_size < 1:
        raise ConfigError(f'batch_size is {batch_size}: expected at least 1')
    stack.enter_context(torch.inference_mode())
    stack.enter_context(evaluating(model))
    stack.enter_context(gdal_environment())

    known = imagery_of(model)
    raster = describe_scene(
        source,
        bands=known.bands if bands is None else bands,
        alpha=alpha,
        value_range=known.value_range if value_range is None else value_range,
    )
    view = _seen(raster, known, gsd_m)
    labels = known.labels if labels is None else labels
    native = stack.enter_context(OpenScene(raster, on_read_error=on_read_error))
    scene = native
    if view is not raster:
        scene = stack.enter_context(OpenScene(view, on_read_error=on_read_error))
    stack.enter_context(gdal_environment(max(native.cache_bytes, scene.cache_bytes)))
    network = Network(
        model,
        name=scene.name,
        device=model_device(model, device),
        combine=combine,
        augment=augment,
        autocast=autocast,
        labels=labels,
    )
    grid = Grid(scene.height, scene.width, tile_px=tile_px, stride_px=stride_px, blend=blend)
    if batch_size is None:
        batch_size = 1 if network.device.type == 'cpu' else 4
    num_classes = network.count_classes((len(scene.bands), *grid.tile_hw))
    layers = _layers(products, num_classes, nodata=nodata, labels=labels)
    made = layers
    if scene is not native and return_by == 'bilinear':
        made = {'scores': score_layer(num_classes)}
    job = Job(scene, grid, network, min(batch_size, len(grid)), made)
    return Opened(job, native, layers, labels)


def _seen(raster: Raster, known: Imagery, gsd_m: GsdChoice | None) -> Raster:
    """The scene on the grid that the model is to see it on."""
    if isinstance(gsd_m, str):
        if gsd_m != 'native':
            raise ConfigError(f"gsd_m is {gsd_m!r}: expected metres, or 'native'")
        return raster
    if gsd_m is None and (known.gsd_m is not None or known.gsd_range_m is not None):
        try:
            gsd_m = known.gsd_for(raster.gsd_m())
        except ConfigError as error:
            raise ConfigError(f'{raster.path}: {error}') from error
    return raster if gsd_m is None else resampled(raster, gsd_m)


def output_paths(
    source: str | Path,
    destination: str | Path,
    probabilities: str | Path | None,
    confidence: str | Path | None,
    entropy: str | Path | None,
) -> dict[Product, Path]:
    """Where each raster goes that is asked for, the map first.

    Raises:
        ConfigError: If one cannot be written there, or two have the same name.
    """
    asked: dict[Product, str | Path | None] = {
        'labels': destination,
        'probabilities': probabilities,
        'confidence': confidence,
        'entropy': entropy,
    }
    outputs = {
        product: check_destination(path, source)
        for product, path in asked.items()
        if path is not None
    }
    if len({path.resolve() for path in outputs.values()}) < len(outputs):
        raise ConfigError('two outputs have the same name: choose one for each')
    return outputs


def _layers(
    products: Iterable[Product], num_classes: int, *, nodata: int, labels: LabelSpace | None
) -> dict[Product, Layer]:
    names = () if labels is None else labels.classes
    return {
        product: label_layer(num_classes, nodata=nodata, labels=labels)
        if product == 'labels'
        else probability_layer(product, num_classes, names)
        for product in products
    }


def stride_in_px(tile_px: int, overlap: float | int, stride_px: int | None) -> int:
    """Pixels from one window to the next."""
    if stride_px is not None:
        return stride_px
    if not 0 <= overlap < 1:
        raise ConfigError(
            f'overlap is {overlap}: expected a part of the window, from 0 to below 1; '
            'pass stride_px for pixels'
        )
    return max(round(tile_px * (1 - overlap)), 1)


def check_shards(shard: tuple[int, int] | None, shard_px: int) -> None:
    """Refuse shares and parts that cannot be.

    Raises:
        ConfigError: If they are out of range.
    """
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise ConfigError(f'shard is {shard}: expected (i, n), the i-th of n, counted from 1')
    if shard_px < BLOCK_PX or shard_px % BLOCK_PX:
        raise ConfigError(
            f'shard_px is {shard_px}: parts are cut between blocks of the file, choose a multiple '
            f'of {BLOCK_PX}'
        )
