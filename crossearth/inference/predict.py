"""A scene in, a georeferenced map out."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor, nn

from crossearth.accuracy import AccuracyEstimate
from crossearth.geometry import Window
from crossearth.inference.grid import Unit, by_rows
from crossearth.inference.map_lock import only_writer
from crossearth.inference.map_parts import MapParts, parts_folder
from crossearth.inference.model_output import ModelOutput
from crossearth.inference.prepared_map import PreparedMap, output_paths, prepare_map
from crossearth.inference.progress import counting
from crossearth.inference.qgis import (
    remove_qgis_style,
    write_attribute_table,
    write_qgis_style,
)
from crossearth.inference.regridding import Draft, regrid_to_scene
from crossearth.inference.rendering import Product
from crossearth.inference.request import MapRequest, Outputs, Running, View, Windows
from crossearth.inference.scene_mapper import SceneMapper
from crossearth.inference.writer import (
    RasterWriter,
    optimise_for_cloud,
    remove_leftovers,
    stacked,
    whole_file,
)
from crossearth.labels import LabelSpace

__all__ = ['SceneMap', 'map_scene', 'predict_scene']

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SceneMap:
    """A map that was written, and what it took.

    Args:
        path: The GeoTIFF.
        height: Rows, those of the scene.
        width: Columns, those of the scene.
        num_classes: Number of classes.
        seen: What the scene's own pixels measure, what the model saw, and why: one line, which is
            also logged.
        windows: Windows that cover the scene, at all scales.
        windows_run: Windows that the model saw: fewer where there is no data, more where the scene
            was too wide for the memory allowed and the windows between two parts ran twice.
        units: Parts that the scene was mapped in.
        complete: Whether the map is there; a shard makes only its parts of it.
        lost: Blocks of the scene that could not be read; the map has nodata there, and with
            `gsd_m` also in what was resampled together with them.
        seconds: Wall-clock time.
        accuracy: How accurate the map is, if `Outputs(estimate_accuracy=True)` asked for it and the
            scene has data.
    """

    path: Path
    height: int
    width: int
    num_classes: int
    seen: str
    windows: int
    windows_run: int
    units: int
    complete: bool
    lost: tuple[Window, ...]
    seconds: float
    accuracy: AccuracyEstimate | None = None


def predict_scene(
    model: nn.Module | Callable[[Tensor], Tensor],
    source: str | Path,
    destination: str | Path,
    *,
    labels: LabelSpace | None = None,
    windows: Windows = Windows(),
    view: View = View(),
    outputs: Outputs = Outputs(),
    running: Running = Running(),
    model_output: ModelOutput = ModelOutput(),
    model_id: str | None = None,
    progress: bool | Callable[[int, int], None] = False,
) -> SceneMap:
    """Map a scene of any size: windows are read, predicted, blended and written as a stream.

    The map is a tiled GeoTIFF on the scene's own pixel grid, with its CRS, transform, ground
    control points and rational polynomials, the colours and names of the label space, and nodata
    where the scene has none. It appears under its name only when it is complete: a run that breaks
    off earlier leaves nothing there.

    Args:
        model: Images (b, c, h, w) in [0, 1], float32 or the type of its weights, to logits
            (b, k, h, w), or to what `model_output` says. A module, also a scripted one, runs in
            eval mode and is put back as it was, submodule by submodule.
        source: Scene: a path, or anything that GDAL opens.
        destination: GeoTIFF to write, replaced if it is there.
        labels: Class names and colours; None for those of the model's file, if it has any.
        windows: Size, overlap and blending of windows.
        view: Bands, values and ground sampling distance that the model sees.
        outputs: Nodata, rasters of probabilities, cloud optimisation, styles, and whether the
            accuracy is estimated.
        running: Batches, device, memory, resuming and shards.
        model_output: What the model gives, if it is not logits of two or more classes.
        model_id: What tells the model from others, such as the name of its version, when parts are
            kept (`resume`, `shard`): parts of another are refused. None for a digest of the model,
            see `identity_of`; functions have none.
        progress: True shows a bar; a function is called with windows done and in all.

    Returns:
        The map's path and size, and what it took.

    Raises:
        SceneNotFoundError: If the scene is not there.
        SceneError: If the scene is not a raster, or a block of it cannot be read.
        BandError: If bands are not there, or are not as many as the model takes.
        ShapeError: If the model does not give what `model_output` says at the size of its input,
            gives other classes than `labels`, or something that could mean two things.
        ConfigError: If an argument has no meaning for this scene, or parts are kept of a model
            without identity.
        BusyError: If another process is writing the same files.
        WriteError: If they cannot be written.

    Example:
        >>> import tempfile, numpy as np, rasterio, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> with rasterio.open(
        ...     folder / 'a.tif', 'w', width=9, height=7, count=1, dtype='uint8',
        ...     crs='EPSG:32633', transform=rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 5e6),
        ... ) as scene:
        ...     scene.write(np.arange(63, dtype='uint8').reshape(1, 7, 9))
        >>> darker_or_lighter = lambda images: torch.cat([0.12 - images, images - 0.12], dim=1)
        >>> made = predict_scene(
        ...     darker_or_lighter, folder / 'a.tif', folder / 'map.tif', windows=Windows(tile_px=4)
        ... )
        >>> made.windows, made.num_classes
        (6, 2)
        >>> with rasterio.open(made.path) as result:
        ...     print(result.crs, result.transform.c, result.read(1)[3])
        EPSG:32633 400000.0 [0 0 0 0 1 1 1 1 1]
    """
    request = MapRequest(labels, windows, view, outputs, running, model_output, model_id)
    return map_scene(model, source, destination, request, progress=progress, tidy=running.resume)


def map_scene(
    model: nn.Module | Callable[[Tensor], Tensor],
    source: str | Path,
    destination: str | Path,
    request: MapRequest,
    *,
    progress: bool | Callable[[int, int], None] = False,
    tidy: bool = False,
) -> SceneMap:
    """Map a scene as `predict_scene` does, with all that is asked for in one value.

    With `tidy`, hidden folders that a kill left of this map are removed. That looks through its
    whole folder, so that a run over many scenes does it once, and not for each map.
    """
    start = time.perf_counter()
    running = request.running
    paths = output_paths(source, destination, request.outputs)
    with ExitStack() as stack:
        stack.enter_context(only_writer(paths.values(), shard=running.shard))
        prepared = prepare_map(stack, model, source, request)
        native = prepared.native
        _LOG.info('%s: %s', native.name, prepared.seeing)
        passes = _passes(prepared.mappers, running)
        parts = _open_parts(stack, prepared, passes, model, paths['labels'])
        total = sum(one.windows for one in passes)
        advance = stack.enter_context(counting(progress, total, paths['labels'].name))
        windows_run, lost = 0, set[Window]()
        if parts is not None:
            for one in passes:
                for receipt in one.mapper.map_parts(
                    parts, one.units, one.chosen, advance, first=one.first
                ):
                    windows_run += receipt.windows_run
                    lost.update(receipt.lost)
        if running.shard is None:
            if tidy:
                for path in paths.values():
                    remove_leftovers(path)
            with _finished_files(prepared, paths) as drafts:
                for one, made in zip(passes, drafts, strict=True):
                    if parts is None:
                        windows_run += one.mapper.map_whole(
                            made, advance, draft=prepared.writes_drafts
                        )
                        lost = one.mapper.scene.lost
                    else:
                        _join_parts(parts, one, made, draft=prepared.writes_drafts)
            if prepared.is_resampled:
                lost = native.lost
    if running.resume and running.shard is None and parts is not None:
        parts.remove()
    accuracy = prepared.mappers[0].accuracy
    return SceneMap(
        path=paths['labels'],
        height=native.height,
        width=native.width,
        num_classes=prepared.mappers[0].num_classes,
        seen=str(prepared.seeing),
        windows=sum(len(one.mapper.grid) for one in passes),
        windows_run=windows_run,
        units=sum(len(one.units) for one in passes),
        complete=running.shard is None,
        lost=tuple(sorted(lost)),
        seconds=time.perf_counter() - start,
        accuracy=None if accuracy is None else accuracy.estimate(),
    )


@dataclass(frozen=True, slots=True)
class _Pass:
    """The work on one of the grids that the model sees.

    Args:
        mapper: Does it.
        units: All parts of the grid.
        first: The number of the first among the parts of all grids.
        chosen: Positions in `units` of those that are done here.
    """

    mapper: SceneMapper
    units: list[Unit]
    first: int
    chosen: list[int]

    @property
    def windows(self) -> int:
        """Windows of the chosen parts."""
        return sum(self.mapper.windows_of(self.units[index]) for index in self.chosen)


def _passes(mappers: Sequence[SceneMapper], running: Running) -> list[_Pass]:
    cut = [mapper.units(running) for mapper in mappers]
    chosen = running.share_of(range(sum(map(len, cut))))
    passes: list[_Pass] = []
    first = 0
    for mapper, units in zip(mappers, cut, strict=True):
        own = [index - first for index in chosen if first <= index < first + len(units)]
        passes.append(_Pass(mapper, units, first, own))
        first += len(units)
    return passes


def _open_parts(
    stack: ExitStack,
    prepared: PreparedMap,
    passes: Sequence[_Pass],
    model: nn.Module | Callable[[Tensor], Tensor],
    map_path: Path,
) -> MapParts | None:
    """Where parts wait: kept for the next call, or for this one only; None if there is one part."""
    if prepared.request.running.keeps_parts:
        plan = prepared.describe([one.units for one in passes])
        plan['model'] = prepared.request.model_id_of(model)
        return MapParts(parts_folder(map_path), plan)
    if all(len(one.units) == 1 for one in passes):
        return None
    folder = TemporaryDirectory(dir=map_path.parent, prefix='.parts.')
    return MapParts(Path(stack.enter_context(folder)), {})


@contextmanager
def _finished_files(
    prepared: PreparedMap, paths: Mapping[Product, Path]
) -> Iterator[list[dict[Product, Path]]]:
    """Files to write on the model's grids; when the block ends, they become what is asked for.

    Files get their names in reverse order, the map last: it is the sign that all are there.
    """
    mappers, request = prepared.mappers, prepared.request
    with ExitStack() as stack:
        files = {product: stack.enter_context(whole_file(path)) for product, path in paths.items()}
        made = [files]
        if prepared.is_resampled:
            folder = files['labels'].parent
            made = [
                {product: folder / f'model-{i}-{product}.tif' for product in mapper.layers}
                for i, mapper in enumerate(mappers)
            ]
        yield made
        if prepared.is_resampled:
            regrid_to_scene(
                [
                    Draft(mapper.scene.raster, there)
                    for mapper, there in zip(mappers, made, strict=True)
                ],
                prepared.native,
                prepared.layers,
                files,
                merge=prepared.merge,
                decision=mappers[0].decision,
                draft=request.outputs.cog,
            )
        if request.outputs.cog:
            for product, path in files.items():
                optimise_for_cloud(path, overviews='mode' if product == 'labels' else 'average')
        if request.outputs.qgis_style and request.labels is not None:
            write_attribute_table(files['labels'], request.labels)
            write_qgis_style(paths['labels'], request.labels)
        else:
            remove_qgis_style(paths['labels'])


def _join_parts(parts: MapParts, one: _Pass, made: Mapping[Product, Path], *, draft: bool) -> None:
    """Put the parts of each raster together, block by block in the order of the file."""
    scene = one.mapper.scene
    for product, path in made.items():
        rows = [
            [parts.path(one.first + index, product) for index in row] for row in by_rows(one.units)
        ]
        with RasterWriter(
            path,
            height=scene.height,
            width=scene.width,
            layer=one.mapper.layers[product],
            georeference=scene.georeference,
            draft=draft,
        ) as writer:
            for piece in stacked(rows):
                writer.place(piece)
