"""Maps one scene to a georeferenced GeoTIFF."""

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
from crossearth.imagery import imagery_of
from crossearth.inference.grid import Unit, by_rows
from crossearth.inference.map_lock import only_writer
from crossearth.inference.map_parts import MapParts, parts_folder
from crossearth.inference.model_output import ModelOutput
from crossearth.inference.prepared_map import PreparedMap, output_paths, prepare_map
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
from crossearth.progress import counting

__all__ = ['SceneMap', 'map_scene', 'predict_scene']

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SceneMap:
    """A map that was written, and what it took.

    Args:
        path: The GeoTIFF.
        height: Rows, the same as the scene's.
        width: Columns, the same as the scene's.
        num_classes: Number of classes.
        seen: One line on the size of the scene's pixels, what the model saw, and why, and a remark
            if the scene looked nearly black to it. It is also logged.
        windows: Windows that cover the scene, at all scales.
        windows_run: Windows that the model saw: fewer where there is no data, more where the scene
            was mapped in parts, because windows between two parts run twice.
        units: Parts in which the scene was mapped.
        complete: Whether the map exists; a shard makes only its share of the parts.
        lost: Blocks of the scene that could not be read. The map has nodata there and, with
            `gsd_m`, also in pixels that were resampled from them.
        seconds: Wall-clock time.
        accuracy: Estimated accuracy of the map, if `Outputs(estimate_accuracy=True)` was set and
            the scene has data.
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
    """Map a scene of any size. Windows are read, predicted, blended and written as a stream.

    The map is a tiled GeoTIFF on the scene's own pixel grid. It has the scene's CRS, transform,
    ground control points and rational polynomials, the colours and names of the label space, and
    nodata where the scene has none. It appears under its name only when it is complete, so an
    interrupted run leaves no map.

    Args:
        model: Maps images (b, c, h, w) in [0, 1], float32 or the type of its weights, to logits
            (b, k, h, w), or to what `model_output` describes. A module, scripted or not, runs in
            eval mode, and each submodule gets its previous mode back.
        source: The scene: a path, or any name that GDAL opens.
        destination: GeoTIFF to write; an existing file is replaced.
        labels: Class names and colours; None for those of the model's file, if it has any.
        windows: Size, overlap and blending of windows.
        view: Bands, values and ground sampling distance that the model sees.
        outputs: Nodata, rasters of probabilities, cloud optimisation, styles, and whether the
            accuracy is estimated.
        running: Batches, device, memory, resuming and shards.
        model_output: What the model returns, if not logits of two or more classes.
        model_id: Identifies the model when parts are kept (`resume`, `shard`), such as the name of
            its version. Parts of another model are refused. None for a digest of the model, see
            `identity_of`; plain functions have no digest.
        progress: True shows a bar; a function is called with the windows done and the total.

    Returns:
        The path and size of the map, and what it took.

    Raises:
        SceneNotFoundError: If the scene does not exist.
        SceneError: If the scene is not a raster, or a block of it cannot be read.
        BandError: If a band does not exist, or the model takes another number of bands.
        ShapeError: If the model does not return what `model_output` describes at the size of its
            input, has other classes than `labels`, or returns something ambiguous.
        ConfigError: If an argument does not make sense for this scene, or parts are kept and the
            model has no identity.
        BusyError: If another process is writing the same files.
        WriteError: If the files cannot be written.

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
    """Map a scene as `predict_scene` does, with all options in one value.

    With `tidy`, hidden folders that killed runs of this map left behind are removed. That scans the
    whole folder, so a run over many scenes does it once and not for each map.
    """
    start = time.perf_counter()
    running = request.running
    paths = output_paths(source, destination, request.outputs)
    with ExitStack() as stack:
        stack.enter_context(only_writer(paths.values(), shard=running.shard))
        # safe only here: the lock keeps other processes from writing the same files, and this one
        # has not begun
        if tidy and running.shard is None:
            for path in paths.values():
                remove_leftovers(path)
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
            with _finished_files(prepared, paths) as drafts:
                for one, made in zip(passes, drafts, strict=True):
                    if parts is None:
                        windows_run += one.mapper.map_whole(
                            made, advance, draft=prepared.writes_drafts
                        )
                        lost = one.mapper.scene.lost
                    else:
                        _join_parts(parts, one, made, draft=prepared.writes_drafts)
            # regridding has read the scene's own grid, and its blocks are the ones to report
            if prepared.is_resampled:
                lost = native.lost
    # only now that the map has its name, or an interruption in between would lose the parts
    if running.resume and running.shard is None and parts is not None:
        parts.remove()
    accuracy = prepared.mappers[0].accuracy
    seen = str(prepared.seeing)
    if remark := prepared.mappers[0].scene.brightness.remark(imagery_of(model)):
        _LOG.warning('%s: %s', native.name, remark)
        seen += f'; {remark}'
    return SceneMap(
        path=paths['labels'],
        height=native.height,
        width=native.width,
        num_classes=prepared.mappers[0].num_classes,
        seen=seen,
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
        mapper: Does the work.
        units: All units of the grid.
        first: Index of its first unit among the parts of all grids.
        chosen: Indices in `units` of those to map in this run.
    """

    mapper: SceneMapper
    units: list[Unit]
    first: int
    chosen: list[int]

    @property
    def windows(self) -> int:
        """Number of windows in the chosen units."""
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
    """Where parts are kept: for the next call, or for this one only; None for a single part."""
    if prepared.request.running.keeps_parts:
        plan = prepared.describe([one.units for one in passes])
        plan['model'] = prepared.request.model_id_of(model)
        return MapParts(parts_folder(map_path), plan)
    if all(len(one.units) == 1 for one in passes):
        return None
    # named as by `whole_file`, so that the next run finds what a killed one left
    folder = TemporaryDirectory(dir=map_path.parent, prefix=f'.{map_path.name}.')
    return MapParts(Path(stack.enter_context(folder)), {})


@contextmanager
def _finished_files(
    prepared: PreparedMap, paths: Mapping[Product, Path]
) -> Iterator[list[dict[Product, Path]]]:
    """Files to write on the model's grids. When the block ends, they become the requested files.

    Files get their names in reverse order and the map comes last, which shows that all are there.
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
    """Assemble each raster from its parts, block by block in the order of the file."""
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
