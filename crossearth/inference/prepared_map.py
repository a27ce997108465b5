"""Prepares a scene and a model for mapping, from a request."""

import functools
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossearth.accuracy import AccuracyMeter
from crossearth.errors import ConfigError
from crossearth.imagery import Imagery, imagery_of
from crossearth.inference.decision import Decision, thresholds_by_id
from crossearth.inference.grid import Unit
from crossearth.inference.merging import merge_scores
from crossearth.inference.network import Network, evaluating, model_device
from crossearth.inference.regridding import MergeScores
from crossearth.inference.rendering import Product, probability_layer, score_layer
from crossearth.inference.request import MapRequest, Outputs, Running, View, Windows
from crossearth.inference.scene import OpenScene
from crossearth.inference.scene_mapper import SceneMapper
from crossearth.inference.seeing import Seeing, see_scene
from crossearth.inference.writer import Layer, check_destination, label_layer
from crossearth.labels import LabelSpace
from crossearth.rasters import gdal_environment

__all__ = ['PreparedMap', 'merging_of', 'output_paths', 'prepare_map']


@dataclass(frozen=True, slots=True)
class PreparedMap:
    """A map whose scene and model are ready.

    Args:
        mappers: The work on each grid that the model sees.
        native: The scene on its own grid; shared with a mapper if the model sees that grid.
        seeing: Which grids the model sees, and why.
        layers: Requested rasters. If they are interpolated between two grids, the mappers make
            scores instead.
        merge: Merges the scores of several grids.
        request: The request, completed from the model and the scene: bands, values,
            ground sampling distance, batch size and device.
    """

    mappers: tuple[SceneMapper, ...]
    native: OpenScene
    seeing: Seeing
    layers: dict[Product, Layer]
    merge: MergeScores
    request: MapRequest

    @property
    def is_resampled(self) -> bool:
        """Whether the model sees a grid other than the scene's own, or several grids."""
        return len(self.mappers) > 1 or self.mappers[0].scene is not self.native

    @property
    def writes_drafts(self) -> bool:
        """Whether the files that the mapper makes are only intermediate."""
        return self.is_resampled or self.request.outputs.cog

    def describe(self, units: Sequence[Sequence[Unit]]) -> dict[str, Any]:
        """All that the parts of the map depend on except the model, as JSON values.

        Args:
            units: The units of each mapper.
        """
        described = self.mappers[0].describe(units[0])
        for i, (mapper, own) in enumerate(zip(self.mappers[1:], units[1:], strict=True), start=1):
            described[f'units at scale {i}'] = mapper.describe_units(own)
        return described | self.request.describe_pixels()


def prepare_map(
    stack: ExitStack,
    model: nn.Module | Callable[[Tensor], Tensor],
    source: str | Path,
    request: MapRequest,
) -> PreparedMap:
    """Open the scene and try the model. Both stay ready until the stack unwinds.

    Args:
        stack: Closes what is opened here.
        model: As in `predict_scene`.
        source: The scene.
        request: What to map, and how.

    Raises:
        CrossEarthError: As in `predict_scene`.
    """
    windows, view, running = request.windows, request.view, request.running
    known = imagery_of(model)
    labels = known.labels if request.labels is None else request.labels
    stack.enter_context(torch.inference_mode())
    stack.enter_context(evaluating(model))
    stack.enter_context(gdal_environment())

    model_output = request.model_output
    seeing = see_scene(source, known, view, scales=windows.scales)
    native = stack.enter_context(OpenScene(seeing.native, on_read_error=running.on_read_error))
    scenes = [
        native
        if grid is seeing.native
        else stack.enter_context(OpenScene(grid, on_read_error=running.on_read_error))
        for grid in seeing.grids
    ]
    # the files must be open before the size of their blocks, and so of the cache, is known
    stack.enter_context(gdal_environment(max(scene.cache_bytes for scene in (native, *scenes))))
    network = Network(
        model,
        name=native.name,
        device=model_device(model, running.device),
        combine=windows.combine,
        augment=windows.augment,
        autocast=running.autocast,
        labels=labels,
        model_output=model_output,
        mean=view.mean,
        std=view.std,
    )
    grids = [windows.grid(scene.height, scene.width) for scene in scenes]
    batch_size = running.batch_size or (1 if network.device.type == 'cpu' else 4)
    # a model that does not fit fails here, before any file is written
    num_classes = network.count_classes((len(native.bands), *grids[0].tile_hw))
    products: tuple[Product, ...] = ('labels', *request.outputs.further)
    layers = _layers(products, num_classes, nodata=request.outputs.nodata, labels=labels)
    decision = _decision(network, request, labels)
    made = layers
    # classes cannot be interpolated or merged, so scores are kept until then
    if len(scenes) > 1 or (scenes[0] is not native and view.return_by == 'bilinear'):
        made = {'scores': score_layer(num_classes)}
    accuracy = None
    if request.outputs.estimate_accuracy:
        accuracy = _accuracy_meter(known, scenes, running)
    mappers = tuple(
        SceneMapper(scene, grid, network, min(batch_size, len(grid)), made, decision, accuracy)
        for scene, grid in zip(scenes, grids, strict=True)
    )
    settled = replace(
        request,
        labels=labels,
        view=_settled_view(view, seeing),
        running=replace(running, batch_size=mappers[0].batch_size, device=network.device),
    )
    merge = merging_of(windows, labels, are_logits=network.gives_logits)
    return PreparedMap(mappers, native, seeing, layers, merge, settled)


def merging_of(windows: Windows, labels: LabelSpace | None, *, are_logits: bool) -> MergeScores:
    """The function that merges the scores of several scales.

    Raises:
        ConfigError: If `merge_class` is not the name of a class.
    """
    name, class_id = windows.merge_class, None
    if name is not None:
        names = () if labels is None else labels.classes
        if name not in names:
            raise ConfigError(
                f'merge_class is {name!r}, but the classes are {", ".join(names) or "unknown"}: '
                'choose one of them, or pass labels'
            )
        class_id = names.index(name)
    return functools.partial(
        merge_scores,
        merge=windows.merge,
        class_id=class_id,
        are_logits=are_logits,
    )


def _accuracy_meter(known: Imagery, scenes: Sequence[OpenScene], running: Running) -> AccuracyMeter:
    """The meter that estimates the accuracy of the map, on the grid that the model sees."""
    calibration = None if known.source is None else known.source.calibration
    if calibration is None:
        raise ConfigError(
            'the model has no calibration, so its confidence says nothing about accuracy: add one '
            'from labelled scenes of its source with crossearth calibrate'
        )
    if running.keeps_parts:
        raise ConfigError(
            'accuracy can only be estimated if the map is made in one go: leave out resume and '
            'shard, or '
            'estimate_accuracy'
        )
    if len(scenes) > 1:
        raise ConfigError(
            'accuracy is estimated from the confidence at one scale, as it was calibrated: leave '
            'out scales, or estimate_accuracy'
        )
    return AccuracyMeter(calibration, height=scenes[0].height, width=scenes[0].width)


def _decision(network: Network, request: MapRequest, labels: LabelSpace | None) -> Decision:
    """How classes are chosen from what the network returns."""
    output, outputs = request.model_output, request.outputs
    assert network.num_classes is not None
    thresholds = thresholds_by_id(
        outputs.thresholds, num_classes=network.num_classes, labels=labels
    )
    if output.is_binary:
        if thresholds:
            raise ConfigError(
                f'the model gives one {output.kind}, so class_thresholds do not apply: leave them '
                'out, and set ModelOutput(threshold=…) (--threshold)'
            )
        thresholds = ((1, 0.5 if output.threshold is None else output.threshold),)
    if thresholds and outputs.estimate_accuracy:
        raise ConfigError(
            'accuracy is estimated for the most likely class, but a threshold may choose another: '
            'leave out the threshold, or estimate_accuracy'
        )
    return Decision(network.gives_logits, thresholds)


def _settled_view(view: View, seeing: Seeing) -> View:
    """The view with every open choice filled in, so that equal views have equal descriptions."""
    raster, seen = seeing.native, seeing.seen
    several = len(seeing.grids) > 1
    return_by = 'nearest' if seeing.grids[0] is raster else view.return_by
    return replace(
        view,
        bands=raster.bands,
        alpha='image' if raster.alpha is None else 'mask',
        value_range=seen.value_range,
        gsd_m='native' if seen is raster else seen.pixel_m,
        scene_gsd_m=raster.pixel_m,
        return_by='bilinear' if several else return_by,
    )


def output_paths(
    source: str | Path, destination: str | Path, outputs: Outputs
) -> dict[Product, Path]:
    """Where each requested raster goes, the map first.

    Raises:
        ConfigError: If one cannot be written there, or two have the same name.
    """
    asked: dict[Product, str | Path] = {'labels': destination, **outputs.further}
    paths = {product: check_destination(path, source) for product, path in asked.items()}
    if len({path.resolve() for path in paths.values()}) < len(paths):
        raise ConfigError('two outputs have the same name: choose a different name for each')
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
