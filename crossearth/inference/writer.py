"""Writes maps as tiled GeoTIFFs that appear under their name only when they are complete."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
import rasterio
import rasterio.shutil
import torch
from jaxtyping import Shaped
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetWriter

from crossearth.errors import ConfigError, SceneError, WriteError
from crossearth.labels import LabelSpace
from crossearth.rasters import Georeference, open_raster

__all__ = [
    'BLOCK_PX',
    'Layer',
    'Piece',
    'RasterWriter',
    'check_destination',
    'check_place',
    'check_replaceable',
    'class_names',
    'find_leftovers',
    'label_layer',
    'marked',
    'remove_leftovers',
    'stacked',
    'whole_file',
    'write_text',
]

_SOFTWARE, _OURS = 'TIFFTAG_SOFTWARE', 'crossearth'  # the field Software of TIFF 6.0

BLOCK_PX = 512
"""Side of the blocks of every map in pixels; also the default of cloud-optimised GeoTIFFs."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one raster of a map holds.

    Args:
        dtype: Data type.
        count: Number of bands.
        nodata: Value of pixels without a prediction, or None.
        colours: Value → red, green, blue, alpha; empty for none.
        tags: Metadata of the file.
        band_names: Descriptions of the bands; empty for none.
        scale: Factor that turns a stored value into its meaning.
    """

    dtype: str
    count: int
    nodata: float | int | None
    colours: Mapping[int, tuple[int, int, int, int]]
    tags: Mapping[str, str]
    band_names: tuple[str, ...] = ()
    scale: float = 1.0


def label_layer(num_classes: int, *, nodata: int, labels: LabelSpace | None) -> Layer:
    """One band of class ids, in uint8 if they fit.

    Args:
        num_classes: Number of classes.
        nodata: Label of pixels without data; not a class id.
        labels: Names and colours; None for neither.

    Raises:
        ConfigError: If nodata is a class id, or does not fit in 16 bits.

    Example:
        >>> label_layer(300, nodata=65535, labels=None).dtype
        'uint16'
    """
    if not num_classes <= nodata <= 65535:
        raise ConfigError(
            f'nodata is {nodata}, but the class ids are 0 to {num_classes - 1}: choose a value '
            f'from {num_classes} to {255 if num_classes <= 255 else 65535}'
        )
    tags = {'NUM_CLASSES': str(num_classes)}
    colours: dict[int, tuple[int, int, int, int]] = {}
    if labels is not None:
        tags['LABEL_SPACE'] = labels.name
        tags |= {f'CLASS_{index}': name for index, name in enumerate(labels.classes)}
        colours = {index: (*colour, 255) for index, colour in enumerate(labels.palette)}
        colours[nodata] = (0, 0, 0, 0)
    return Layer('uint8' if nodata <= 255 else 'uint16', 1, nodata, colours, tags, ('class',))


def class_names(tags: Mapping[str, str]) -> dict[int, str]:
    """The class names that `label_layer` stores in the tags of a map, by id.

    Example:
        >>> class_names({'CLASS_1': 'road', 'AREA_OR_POINT': 'Area'})
        {1: 'road'}
    """
    return {
        int(name.removeprefix('CLASS_')): value
        for name, value in tags.items()
        if name.startswith('CLASS_') and name.removeprefix('CLASS_').isdecimal()
    }


def check_destination(destination: str | Path, source: str | Path) -> Path:
    """The path of a map, if it can be written there.

    Raises:
        ConfigError: If its name is not that of a GeoTIFF, its folder does not exist, it is the
            scene itself, or there is a raster without the mark of crossearth.
    """
    path = Path(destination)
    if path.suffix.lower() not in {'.tif', '.tiff'}:
        raise ConfigError(f'{path} is not a GeoTIFF: choose a name that ends in .tif')
    check_place(path)
    if path.resolve() == Path(source).resolve():
        raise ConfigError(f'{path} is the scene itself: choose another name for the map')
    check_replaceable(path)
    return path


def check_place(path: Path) -> None:
    """Refuse a file that no folder is there for, or whose name a folder has.

    Raises:
        ConfigError: If so.
    """
    if not path.parent.is_dir():
        raise ConfigError(f'the folder {path.parent} does not exist: create it first')
    if path.is_dir():
        raise ConfigError(f'{path} is a folder: choose the name of a file')


def check_replaceable(path: Path) -> None:
    """Refuse to replace a raster without the mark of crossearth, such as another scene.

    Raises:
        ConfigError: If there is one. A damaged file may be replaced.
    """
    if not path.exists():
        return
    try:
        with open_raster(path) as dataset:
            ours = dataset.tags().get(_SOFTWARE) == _OURS
    except SceneError:
        return
    if not ours:
        raise ConfigError(
            f'{path} is a raster and has no mark of crossearth ({_SOFTWARE}={_OURS}), so it may be '
            'a scene: choose another name for the map, or remove the file'
        )


def marked(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a raster that a later run may replace."""
    return {**tags, _SOFTWARE: _OURS}


@contextmanager
def whole_file(destination: Path) -> Iterator[Path]:
    """A path in a hidden folder next to `destination`, moved there when the block ends.

    If the block fails or never ends, nothing appears under the final name. The file is moved only
    when it is safely on the disk. A sidecar `….aux.xml` written by GDAL moves along.
    Overviews and a mask of the former file (`….ovr`, `….msk`) are removed.

    Raises:
        WriteError: If the folder is not writable, or the disk is full.
    """
    sidecar = destination.with_name(f'{destination.name}.aux.xml')
    try:
        # next to the destination, because renaming is atomic only within one file system
        holder = tempfile.TemporaryDirectory(
            dir=destination.parent, prefix=f'.{destination.name}.', ignore_cleanup_errors=True
        )
    except OSError as error:
        raise WriteError(
            f'{destination} cannot be written ({error}): check that you may write in the folder '
            f'{destination.parent}, and that the name is not too long'
        ) from error
    with holder as folder:
        temporary = Path(folder) / destination.name
        yield temporary
        _reach_disk(temporary)
        made = Path(folder) / sidecar.name
        try:
            if made.exists():
                made.replace(sidecar)
            else:
                sidecar.unlink(missing_ok=True)  # statistics of the map that is being replaced
            # before the move: without overviews the former map is only slower, but the new map
            # would look like the former one when zoomed out
            for suffix in ('.ovr', '.msk'):
                destination.with_name(destination.name + suffix).unlink(missing_ok=True)
            # last, because this name shows that everything is there
            temporary.replace(destination)
        except OSError as error:
            raise WriteError(
                f'{destination} cannot be replaced ({error}): check that you may replace it, or '
                'choose another name'
            ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file in a folder of `whole_file`.

    Raises:
        WriteError: If it cannot be written.
    """
    try:
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise WriteError(_cannot_write(path, str(error))) from error


def _reach_disk(path: Path) -> None:
    """Wait until a file is on the disk; some network file systems only then report it is full."""
    try:
        with path.open('r+b') as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise WriteError(_cannot_write(path, str(error))) from error


def find_leftovers(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Files that `whole_file` was writing in a folder, each with the hidden folder it left."""
    name = re.compile(r'\.(.+)\.[a-z0-9_]{8}')  # as named by tempfile
    for found in folder.iterdir():
        match = name.fullmatch(found.name)
        if match is not None and found.is_dir():
            yield folder / match[1], found


def remove_leftovers(destination: Path) -> None:
    """Remove the hidden folders that killed runs of `whole_file(destination)` left.

    No other process may be writing the same file.
    """
    for made, folder in list(find_leftovers(destination.parent)):
        if made == destination:
            shutil.rmtree(folder)


def optimise_for_cloud(path: Path, *, overviews: Literal['mode', 'average']) -> None:
    """Turn a GeoTIFF into a cloud-optimised one with overviews, in place.

    Args:
        path: GeoTIFF in a folder of its own, because GDAL writes temporary files next to it.
        overviews: How four pixels become one: `'mode'` for classes, `'average'` for amounts.
    """
    optimised = path.with_name(f'cog-{path.name}')
    with _naming(path):
        rasterio.shutil.copy(
            path,
            optimised,
            driver='COG',
            compress='deflate',
            blocksize=BLOCK_PX,
            overview_resampling=overviews,
            bigtiff='if_safer',
        )
    _check_blocks(optimised)
    optimised.replace(path)


class Piece(NamedTuple):
    """A rectangle of whole blocks: bands, first row, first column and values."""

    bands: tuple[int, ...]
    row: int
    col: int
    values: Shaped[np.ndarray, 'c h w']


class RasterWriter:
    """Writes rows from top to bottom, handing whole blocks to GDAL; a context manager.

    Args:
        path: File to make.
        height: Rows of the raster.
        width: Columns of the raster.
        layer: What it holds.
        georeference: Where it lies.
        draft: Whether the file is only intermediate, and so compressed for speed and not for size.

    Raises:
        WriteError: If the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        height: int,
        width: int,
        layer: Layer,
        georeference: Georeference,
        draft: bool = False,
    ) -> None:
        options: dict[str, Any] = dict(georeference.creation_options())
        if layer.dtype != 'float32':  # noisy floats compress slowly and hardly at all
            options |= {'compress': 'deflate'} | ({'zlevel': 1} if draft else {})
        self._path = path
        with _naming(path):
            self._dataset = self._create(path, height, width, layer, options)
        if layer.colours:
            self._dataset.write_colormap(1, dict(layer.colours))
        self._dataset.update_tags(**marked(layer.tags))
        for band, name in enumerate(layer.band_names, start=1):
            self._dataset.set_band_description(band, name)
        if layer.scale != 1:
            self._dataset.scales = (layer.scale,) * layer.count
        georeference.finish(self._dataset)
        self._height = height
        self._shape = (layer.count, min(BLOCK_PX, height), width)
        self._rows = np.empty((0, 0, 0), layer.dtype)
        self._written = 0
        self._filled = 0

    @staticmethod
    def _create(
        path: Path, height: int, width: int, layer: Layer, options: dict[str, Any]
    ) -> DatasetWriter:
        return rasterio.open(
            path,
            'w',
            driver='GTiff',
            height=height,
            width=width,
            count=layer.count,
            dtype=layer.dtype,
            nodata=layer.nodata,
            tiled=True,
            blockxsize=BLOCK_PX,
            blockysize=BLOCK_PX,
            interleave='band',
            # the compressed size is not known yet, and a classic TIFF ends at 4 GiB
            bigtiff='if_safer',
            num_threads=torch.get_num_threads(),
            **options,
        )

    def __enter__(self) -> 'RasterWriter':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            # the first error says more than that of closing an unfinished file
            with suppress(RasterioIOError, CPLE_BaseError):
                self._dataset.close()
            return
        with _naming(self._path):
            self._dataset.close()
        _check_blocks(self._path)

    def write(self, values: Shaped[np.ndarray, 'c h w']) -> None:
        """Append rows. They reach the file when a row of blocks, or the raster, is complete."""
        if self._rows.size == 0:
            self._rows = np.empty(self._shape, self._rows.dtype)
        taken = 0
        while taken < values.shape[1]:
            count = min(self._rows.shape[1] - self._filled, values.shape[1] - taken)
            self._rows[:, self._filled : self._filled + count] = values[:, taken : taken + count]
            taken += count
            self._filled += count
            if self._filled in (BLOCK_PX, self._height - self._written):
                self._flush()

    def place(self, piece: Piece) -> None:
        """Write a rectangle of blocks. The file stores blocks in the order in which they arrive."""
        bands, row, col, values = piece
        window = ((row, row + values.shape[1]), (col, col + values.shape[2]))
        with _naming(self._path):
            self._dataset.write(values, list(bands), window=window)

    def _flush(self) -> None:
        window = ((self._written, self._written + self._filled), (0, self._dataset.width))
        with _naming(self._path):
            self._dataset.write(self._rows[:, : self._filled], window=window)
        self._written += self._filled
        self._filled = 0


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn errors of GDAL during writing into errors that name the file."""
    try:
        yield
    except (RasterioIOError, CPLE_BaseError) as error:
        raise WriteError(_cannot_write(path, str(error.__cause__ or error))) from error


def _cannot_write(path: Path, reason: str) -> str:
    return f'{path.name} cannot be written in {path.parent} ({reason}): check for free disk space'


def _check_blocks(path: Path) -> None:
    """Check that all blocks are in the file, because errors of the last flush may go unreported.

    Raises:
        WriteError: If a block is missing.
    """
    size = path.stat().st_size
    with _naming(path), rasterio.open(path) as dataset:
        for band in dataset.indexes:
            for (row, col), _ in dataset.block_windows(band):
                name = f'{col}_{row}'
                offset = dataset.get_tag_item(f'BLOCK_OFFSET_{name}', 'TIFF', bidx=band)
                length = dataset.get_tag_item(f'BLOCK_SIZE_{name}', 'TIFF', bidx=band)
                if offset is None or length is None or int(offset) + int(length) > size:
                    raise WriteError(_cannot_write(path, 'blocks are missing'))


def stacked(parts: Sequence[Sequence[Path]]) -> Iterator[Piece]:
    """Blocks of a raster that was mapped in parts, in the order in which a file stores them.

    Args:
        parts: Rows of parts, each from left to right and of the same height.
    """
    top = 0
    for row in parts:
        with ExitStack() as stack:
            datasets = [stack.enter_context(rasterio.open(part)) for part in row]
            height = datasets[0].height
            for first in range(0, height, BLOCK_PX):
                rows = (first, min(first + BLOCK_PX, height))
                for band in datasets[0].indexes:
                    col = 0
                    for dataset in datasets:
                        values = dataset.read([band], window=(rows, (0, dataset.width)))
                        yield Piece((band,), top + first, col, values)
                        col += dataset.width
        top += height
