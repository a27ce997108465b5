"""From what is asked for to a scene and a model that are ready."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from crossearth.accuracy import AccuracyMeter
from crossearth.errors import ConfigError
from crossearth.imagery import Imagery, imagery_of
from crossearth.inference.grid import Grid
from crossearth.inference.network import Network, evaluating, model_device
from crossearth.inference.rendering import Product, probability_layer, score_layer
from crossearth.inference.request import GsdChoice, GsdEstimator, MapRequest, Outputs, Running, View
from crossearth.inference.scene import OpenScene, describe_scene
from crossearth.inference.scene_mapper import SceneMapper
from crossearth.inference.writer import Layer, check_destination, label_layer
from crossearth.labels import LabelSpace
from crossearth.rasters import Raster, gdal_environment, resampled

__all__ = ['PreparedMap', 'output_paths', 'prepare_map', 'rasters_of']


@dataclass(frozen=True, slots=True)
class PreparedMap:
    """A map whose scene and model are ready.

    Args:
        mapper: The work on the grid that the model sees.
        native: The scene on its own grid; that of the mapper if the model sees it so.
        layers: Rasters that are asked for. The mapper makes scores instead where these are
            interpolated between two grids.
        request: What was asked for, with what the model and the scene settled: bands, values,
            ground sampling distance, batch size and device.
    """

    mapper: SceneMapper
    native: OpenScene
    layers: dict[Product, Layer]
    request: MapRequest

    @property
    def is_resampled(self) -> bool:
        """Whether the model sees another grid than the scene's own."""
        return self.mapper.scene is not self.native

    @property
    def writes_drafts(self) -> bool:
        """Whether the files that the mapper makes are only a step to others."""
        return self.is_resampled or self.request.outputs.cog


def prepare_map(
    stack: ExitStack,
    model: nn.Module | Callable[[Tensor], Tensor],
    source: str | Path,
    request: MapRequest,
) -> PreparedMap:
    """Open the scene and try the model; both stay ready until the stack unwinds.

    Args:
        stack: Closes what is opened here.
        model: As of `predict_scene`.
        source: The scene.
        request: What is asked for.

    Raises:
        CrossEarthError: As `predict_scene`.
    """
    windows, view, running = request.windows, request.view, request.running
    known = imagery_of(model)
    labels = known.labels if request.labels is None else request.labels
    stack.enter_context(torch.inference_mode())
    stack.enter_context(evaluating(model))
    stack.enter_context(gdal_environment())

    raster, seen = rasters_of(source, known, view)
    native = stack.enter_context(OpenScene(raster, on_read_error=running.on_read_error))
    scene = native
    if seen is not raster:
        scene = stack.enter_context(OpenScene(seen, on_read_error=running.on_read_error))
    stack.enter_context(gdal_environment(max(native.cache_bytes, scene.cache_bytes)))
    accuracy = None
    if request.outputs.estimate_accuracy:
        accuracy = _accuracy_meter(known, scene, running)
    network = Network(
        model,
        name=scene.name,
        device=model_device(model, running.device),
        combine=windows.combine,
        augment=windows.augment,
        autocast=running.autocast,
        labels=labels,
    )
    grid = Grid(
        scene.height,
        scene.width,
        tile_px=windows.tile_px,
        stride_px=windows.step_px,
        blend=windows.blend,
    )
    batch_size = running.batch_size or (1 if network.device.type == 'cpu' else 4)
    num_classes = network.count_classes((len(scene.bands), *grid.tile_hw))
    products: tuple[Product, ...] = ('labels', *request.outputs.further)
    layers = _layers(products, num_classes, nodata=request.outputs.nodata, labels=labels)
    made = layers
    if scene is not native and view.return_by == 'bilinear':
        made = {'scores': score_layer(num_classes)}
    mapper = SceneMapper(scene, grid, network, min(batch_size, len(grid)), made, accuracy)
    settled = MapRequest(
        labels,
        windows,
        _settled_view(view, raster, seen),
        request.outputs,
        replace(running, batch_size=mapper.batch_size, device=network.device),
    )
    return PreparedMap(mapper, native, layers, settled)


def rasters_of(source: str | Path, known: Imagery, view: View) -> tuple[Raster, Raster]:
    """The scene on its own grid, and on the grid that the model is to see it on.

    Args:
        source: The scene.
        known: What the model was trained on.
        view: How it is to see the scene; what is left open follows from `known`.

    Returns:
        Twice the same where the model sees the scene's own pixels.

    Raises:
        CrossEarthError: As `predict_scene`.
    """
    own_m = view.scene_gsd_m
    raster = describe_scene(
        source,
        bands=known.bands if view.bands is None else view.bands,
        alpha=view.alpha,
        value_range=known.value_range if view.value_range is None else view.value_range,
        native_gsd_m=own_m if isinstance(own_m, int | float) else None,
    )
    if isinstance(own_m, GsdEstimator) and raster.gsd_m() is None:
        raster = replace(raster, pixel_m=own_m(raster))
    return raster, _seen(raster, known, view.gsd_m)


def _seen(raster: Raster, known: Imagery, gsd_m: GsdChoice | None) -> Raster:
    """The scene on the grid that the model is to see it on."""
    if isinstance(gsd_m, str):
        return raster
    if gsd_m is None and (known.gsd_m is not None or known.gsd_range_m is not None):
        try:
            gsd_m = known.gsd_for(raster.gsd_m())
        except ConfigError as error:
            raise ConfigError(f'{raster.path}: {error}') from error
    return raster if gsd_m is None else resampled(raster, gsd_m)


def _accuracy_meter(known: Imagery, scene: OpenScene, running: Running) -> AccuracyMeter:
    """What estimates the accuracy of the map on the grid that the model sees."""
    calibration = None if known.source is None else known.source.calibration
    if calibration is None:
        raise ConfigError(
            'the model has no calibration, so its confidence says nothing of accuracy: add one '
            'from labelled scenes of its source with crossearth calibrate'
        )
    if running.keeps_parts:
        raise ConfigError(
            'accuracy is estimated while a map is made in one go: leave out resume and shard, or '
            'estimate_accuracy'
        )
    return AccuracyMeter(calibration, height=scene.height, width=scene.width)


def _settled_view(view: View, raster: Raster, seen: Raster) -> View:
    """The view with all that was left open, so that equal views say the same."""
    is_native = seen is raster
    return View(
        bands=raster.bands,
        alpha='image' if raster.alpha is None else 'mask',
        value_range=seen.value_range,
        gsd_m='native' if is_native else seen.pixel_m,
        scene_gsd_m=raster.pixel_m,
        return_by='nearest' if is_native else view.return_by,
    )


def output_paths(
    source: str | Path, destination: str | Path, outputs: Outputs
) -> dict[Product, Path]:
    """Where each raster goes that is asked for, the map first.

    Raises:
        ConfigError: If one cannot be written there, or two have the same name.
    """
    asked: dict[Product, str | Path] = {'labels': destination, **outputs.further}
    paths = {product: check_destination(path, source) for product, path in asked.items()}
    if len({path.resolve() for path in paths.values()}) < len(paths):
        raise ConfigError('two outputs have the same name: choose one for each')
    return paths


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
