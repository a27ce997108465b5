"""A scene in, a georeferenced map out."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.imagery import imagery_of
from crossearth.inference.grid import Blend, by_rows
from crossearth.inference.network import Augment, Combine
from crossearth.inference.opening import (
    GsdChoice,
    ReturnBy,
    check_shards,
    open_job,
    output_paths,
    stride_in_px,
)
from crossearth.inference.parts import Parts, parts_folder
from crossearth.inference.products import Product
from crossearth.inference.progress import counting
from crossearth.inference.qgis import write_qgis_style
from crossearth.inference.returning import bring_back
from crossearth.inference.scene import OnReadError
from crossearth.inference.writer import (
    RasterWriter,
    optimise_for_cloud,
    remove_leftovers,
    stacked,
    whole_file,
)
from crossearth.labels import LabelSpace
from crossearth.rasters import Alpha

__all__ = ['SceneMap', 'predict_scene']


@dataclass(frozen=True, slots=True)
class SceneMap:
    """A map that was written, and what it took.

    Args:
        path: The GeoTIFF.
        height: Rows, those of the scene.
        width: Columns, those of the scene.
        num_classes: Number of classes.
        windows: Windows that cover the scene.
        windows_run: Windows that the model saw: fewer where there is no data, more where the scene
            was too wide for the memory allowed and the windows between two parts ran twice.
        units: Parts that the scene was mapped in.
        complete: Whether the map is there; a shard makes its parts of it only.
        lost: Blocks of the scene that could not be read; the map has nodata there, and with
            `gsd_m` also in what was resampled together with them.
        seconds: Wall-clock time.
    """

    path: Path
    height: int
    width: int
    num_classes: int
    windows: int
    windows_run: int
    units: int
    complete: bool
    lost: tuple[Window, ...]
    seconds: float


def predict_scene(
    model: nn.Module | Callable[[Tensor], Tensor],
    source: str | Path,
    destination: str | Path,
    *,
    tile_px: int = 512,
    overlap: float | int = 1 / 3,
    stride_px: int | None = None,
    blend: Blend = 'hann',
    combine: Combine = 'softmax',
    bands: Sequence[int] | Sequence[str] | None = None,
    alpha: Alpha = 'auto',
    value_range: tuple[float | int, float | int] | None = None,
    labels: LabelSpace | None = None,
    nodata: int = 255,
    augment: Augment = 'none',
    probabilities: str | Path | None = None,
    confidence: str | Path | None = None,
    entropy: str | Path | None = None,
    cog: bool = False,
    qgis_style: bool = False,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
    gsd_m: GsdChoice | None = None,
    return_by: ReturnBy = 'nearest',
    memory_mb: int | None = None,
    on_read_error: OnReadError = 'raise',
    resume: bool = False,
    shard: tuple[int, int] | None = None,
    shard_px: int = 8192,
    progress: bool | Callable[[int, int], None] = False,
) -> SceneMap:
    """Map a scene of any size: windows are read, predicted, blended and written as a stream.

    The map is a tiled GeoTIFF on the scene's own pixel grid, with its CRS, transform, ground
    control points and rational polynomials, the colours and names of the label space, and nodata
    where the scene has none. It takes its name when it is whole: whatever breaks off before
    leaves nothing there.

    Windows start every `stride_px` from the scene's first pixel and are never padded. The last one
    along each axis ends at the border; along an axis that is shorter than `tile_px` windows have
    its length. A model that needs multiples of something pads within.

    Args:
        model: Images (b, c, h, w), float32 in [0, 1], to logits (b, k, h, w). A module, also a
            scripted one, runs in eval mode and is put back as it was, submodule by submodule.
        source: Scene: a path, or anything that GDAL opens.
        destination: GeoTIFF to write, replaced if it is there.
        tile_px: Side of a window, in pixels.
        overlap: Part of a window that the next one repeats, from 0 to below 1.
        stride_px: Pixels from one window to the next, instead of `overlap`.
        blend: Weight of a window's pixels where windows overlap, see `window_profile`.
        combine: What is averaged: `'softmax'` probabilities, or `'logits'`.
        bands: Bands that the model takes, counted from 1, or their names: the descriptions or the
            colours of the scene's bands. A scene whose bands have none of these names, and are as
            many, is taken as it is. None for those of the model's file, or all but an alpha band.
        alpha: What a band that the file calls alpha is, as GDAL calls the fourth band of any plain
            8-bit file: `'mask'` says where there are data, `'image'` is a band like others, such
            as near infrared; `'auto'` tells by its values.
        value_range: Values of the scene that become 0 and 1; values outside are clipped. None for
            those of the model's file, or the rule of training: integers are divided by the largest
            of their type (255, 65535, 32767), negative ones become 0, and floats must lie in
            [0, 1].
        labels: Class names and colours; None for those of the model's file, if it has any.
        nodata: Label of pixels without data: all bands hold the scene's nodata value, a mask or
            an alpha band excludes them, or a band is not finite. Models see 0 there.
        augment: `'d4'` averages over the eight flips and quarter turns of every window, at eight
            times the cost.
        probabilities: A second GeoTIFF, with the probability of each class as a band of bytes:
            254 means 1 (the file's scale says so), 255 no data.
        confidence: Another, with the probability of the class that was chosen.
        entropy: Another, with the entropy, from 0 where the model is sure of one class to 254
            where it cannot tell any from the others.
        cog: Whether the files are made cloud-optimised, with overviews.
        qgis_style: Whether a `.qml` is written beside the map, which QGIS takes names and colours
            from. Needs `labels`.
        batch_size: Windows in a batch; None for 1 on the CPU, where larger ones are slower for
            their memory is mapped anew every time, and 4 elsewhere.
        device: Where windows are sent; None for where the model lies.
        autocast: Half type that the model computes in, `torch.bfloat16` or `torch.float16`.
            Windows are summed in float32 either way.
        gsd_m: Ground sampling distance that the model was trained at, in metres. The scene is
            resampled to square pixels of that size on the ground, in a local projection, while it
            is read, and the map is brought back to the scene's own grid. A scene that is within
            2 % of it along both axes is mapped on its own grid, as it is with `'native'`. None for
            what the model's file says (for a model trained across a range, the scene's own if it
            lies in it, else the nearer end), and the scene's own where it says nothing.
        return_by: How it is brought back: `'nearest'` gives a pixel the label of the nearest pixel
            that the model saw; `'bilinear'` interpolates the averaged scores, probabilities or
            logits as `combine` says, and then chooses, which takes 4 bytes a class for each pixel
            of the model's grid on disk meanwhile.
        memory_mb: Memory in MiB for everything but the model. A scene that is too wide is mapped
            in full-height parts, and the result is the same. None for 208, or what parts of
            2048 px take if that is more.
        on_read_error: What a block that cannot be read is: an error (`'raise'`), or `'nodata'`, and
            listed in the result.
        resume: Whether finished parts are kept beside the map, in a folder `….parts`, until it is
            whole. After a kill the same call goes on with the parts that are missing.
        shard: `(i, n)` makes every n-th part, from the i-th, counted from 1, and no map: for
            machines that share a file system. When all have ended, the same call with
            `resume=True` and without `shard` puts the map together.
        shard_px: Side of the parts that are kept, a multiple of 512.
        progress: True shows a bar; a function is called with windows done and in all.

    Returns:
        The map's path and size, and what it took.

    Raises:
        SceneNotFoundError: If the scene is not there.
        SceneError: If the scene is no raster, or a block of it cannot be read.
        BandError: If bands are not there, or are not as many as the model takes.
        ShapeError: If the model gives no logits at the size of its input, or other classes than
            `labels`.
        ConfigError: If an argument has no meaning, alone or for this scene.

    Example:
        >>> import tempfile, numpy as np, rasterio, torch
        >>> folder = Path(tempfile.mkdtemp())
        >>> with rasterio.open(
        ...     folder / 'a.tif', 'w', width=9, height=7, count=1, dtype='uint8',
        ...     crs='EPSG:32633', transform=rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 5e6),
        ... ) as scene:
        ...     scene.write(np.arange(63, dtype='uint8').reshape(1, 7, 9))
        >>> darker_or_lighter = lambda images: torch.cat([0.12 - images, images - 0.12], dim=1)
        >>> made = predict_scene(darker_or_lighter, folder / 'a.tif', folder / 'map.tif', tile_px=4)
        >>> made.windows, made.num_classes
        (6, 2)
        >>> with rasterio.open(made.path) as result:
        ...     print(result.crs, result.transform.c, result.read(1)[3])
        EPSG:32633 400000.0 [0 0 0 0 1 1 1 1 1]
    """
    start = time.perf_counter()
    outputs = output_paths(source, destination, probabilities, confidence, entropy)
    if qgis_style and (labels or imagery_of(model).labels) is None:
        raise ConfigError('qgis_style draws the classes of a label space: pass labels')
    check_shards(shard, shard_px)
    kept = resume or shard is not None
    with ExitStack() as stack:
        opened = open_job(
            stack,
            model,
            source,
            outputs,
            tile_px=tile_px,
            stride_px=stride_in_px(tile_px, overlap, stride_px),
            blend=blend,
            combine=combine,
            bands=bands,
            alpha=alpha,
            value_range=value_range,
            labels=labels,
            nodata=nodata,
            augment=augment,
            batch_size=batch_size,
            device=device,
            autocast=autocast,
            gsd_m=gsd_m,
            return_by=return_by,
            on_read_error=on_read_error,
        )
        job, native = opened.job, opened.native
        scene = job.scene
        units = job.units(memory_mb=memory_mb, shard_px=shard_px if kept else None)
        chosen = list(range(len(units)))
        if shard is not None:
            chosen = chosen[shard[0] - 1 :: shard[1]]
        total = sum(job.windows_of(units[index]) for index in chosen)
        advance = stack.enter_context(counting(progress, total, Path(destination).name))
        parts: Parts | None = None
        if kept:
            seen = scene.raster
            settings = {
                'alpha': seen.alpha,
                'value_range': seen.value_range,
                'gsd_m': None if seen.native is None else seen.transform.a,
                'on_read_error': on_read_error,
            }
            parts = Parts(parts_folder(outputs['labels']), job.plan(units, model) | settings)
        elif len(units) > 1:
            folder = TemporaryDirectory(dir=outputs['labels'].parent, prefix='.parts.')
            parts = Parts(Path(stack.enter_context(folder)), {})
        windows_run, lost = 0, set[Window]()
        if parts is not None:
            for receipt in job.map_parts(parts, units, chosen, advance):
                windows_run += receipt.windows_run
                lost |= set(receipt.lost)
        if shard is None:
            if resume:
                for path in outputs.values():
                    remove_leftovers(path)
            # files take their names from the last to the first, and the map, which is the sign
            # that all is there, comes first
            paths = {
                product: stack.enter_context(whole_file(path)) for product, path in outputs.items()
            }
            made: Mapping[Product, Path] = paths
            if opened.is_resampled:
                beside = paths['labels'].parent
                made = {product: beside / f'model-{product}.tif' for product in job.layers}
            draft = cog or opened.is_resampled
            if parts is None:
                windows_run = job.map_unit(units[0], made, scene.georeference, advance, draft=draft)
                lost = scene.lost
            else:
                for product, path in made.items():
                    rows = [[parts.path(i, product) for i in row] for row in by_rows(units)]
                    with RasterWriter(
                        path,
                        height=scene.height,
                        width=scene.width,
                        layer=job.layers[product],
                        georeference=scene.georeference,
                        draft=draft,
                    ) as writer:
                        for piece in stacked(rows):
                            writer.place(piece)
            if opened.is_resampled:
                bring_back(
                    made,
                    native,
                    scene.raster,
                    opened.layers,
                    paths,
                    are_logits=job.network.gives_logits,
                    draft=cog,
                )
                lost = native.lost
            if cog:
                for product, path in paths.items():
                    optimise_for_cloud(path, overviews='mode' if product == 'labels' else 'average')
            if qgis_style and opened.labels is not None:
                write_qgis_style(outputs['labels'], opened.labels)
    if resume and shard is None and parts is not None:
        parts.remove()
    return SceneMap(
        path=outputs['labels'],
        height=native.height,
        width=native.width,
        num_classes=job.num_classes,
        windows=len(job.grid),
        windows_run=windows_run,
        units=len(units),
        complete=shard is None,
        lost=tuple(sorted(lost)),
        seconds=time.perf_counter() - start,
    )
