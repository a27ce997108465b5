"""A map with its scene and its confidence, open and coloured."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from jaxtyping import Bool, Shaped, UInt8
from matplotlib import colormaps
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from crossearth.errors import BandError, ConfigError
from crossearth.inference.map_files import open_confidence
from crossearth.inference.map_summary import MapSummary, area_text, summarise_map
from crossearth.inference.writer import class_names
from crossearth.labels import LabelSpace
from crossearth.panels import display_limits, displayed
from crossearth.rasters import Georeference, colours_of, ground_gsd, open_raster
from crossearth.viewer.shown_raster import ShownRaster, fitting

__all__ = ['LegendEntry', 'MapView', 'open_map_view']

_SAMPLE_PX = 1024  # longer side of the sample from which the contrast stretch is computed
_CERTAINTIES = 255


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A line of the legend.

    Args:
        name: Class name.
        colour: Such as `'#ff0000'`; None for a class that is not drawn.
        share: Share of the area, as text.
        area: Area on the ground, as text; `'–'` for maps without a georeference.
    """

    name: str
    colour: str | None
    share: str
    area: str


@dataclass(frozen=True, slots=True)
class MapView:
    """What is shown.

    Args:
        title: Name of the map.
        width: Columns of the map.
        height: Rows of the map.
        layers: From bottom to top: the scene if given, the map, its confidence if given.
        legend: One entry per class.
        crs: Name of the CRS; None without one.
        transform: `(col, row)` → `(x, y)`, as six numbers; None without a georeference.
        gsd_m: Metres from one column to the next, and from one row to the next, in the middle of
            the map; None if unknown.
    """

    title: str
    width: int
    height: int
    layers: tuple[ShownRaster, ...]
    legend: tuple[LegendEntry, ...]
    crs: str | None
    transform: tuple[float, ...] | None
    gsd_m: tuple[float, float] | None


@contextmanager
def open_map_view(
    path: str | Path,
    *,
    scene: str | Path | None = None,
    confidence: str | Path | None = None,
    labels: LabelSpace | None = None,
    bands: tuple[int, ...] | None = None,
) -> Iterator[MapView]:
    """Open a map to show it. Its files are closed when the block ends.

    Args:
        path: GeoTIFF of class ids.
        scene: The scene that was mapped, or another raster of the same ground.
        confidence: The confidence of the map, on the same grid.
        labels: Names and colours; None for those in the map.
        bands: One band or three of the scene, counted from 1, for red, green and blue; None for
            those marked as such, or the first ones.

    Raises:
        SceneNotFoundError: If a file does not exist.
        SceneError: If a file cannot be read, or is not a map.
        ConfigError: If the scene or the confidence does not match the map.
        BandError: If the scene does not have the bands.
    """
    summary = summarise_map(path, confidence=confidence)  # also checks that it is a map
    with ExitStack() as stack:
        dataset = stack.enter_context(open_raster(path))
        table = _colour_table(dataset, labels)
        layers = [_map_layer(dataset, table)]
        if scene is not None:
            if bands is not None and len(bands) not in (1, 3):
                raise BandError(
                    f'bands are {bands}: expected one, or three for red, green and blue'
                )
            source = stack.enter_context(open_raster(scene))
            layers.insert(0, _scene_layer(_on_grid(source, dataset, stack), source, bands))
        if confidence is not None:
            sure = stack.enter_context(open_confidence(confidence, dataset))
            layers.append(_confidence_layer(sure))
        yield MapView(
            title=Path(path).name,
            width=dataset.width,
            height=dataset.height,
            layers=tuple(layers),
            legend=_legend(summary, table, labels),
            crs=None if dataset.crs is None else dataset.crs.to_string()[:60],
            transform=None if dataset.transform.is_identity else tuple(dataset.transform)[:6],
            gsd_m=_gsd_of(dataset),
        )


def _colour_table(
    dataset: rasterio.DatasetReader, labels: LabelSpace | None
) -> UInt8[np.ndarray, 'n 4']:
    """RGBA of every id, from the labels or the file, or else chosen to be easy to distinguish."""
    size = np.iinfo(dataset.dtypes[0]).max + 1
    apart = (colormaps['tab20'](np.arange(20)) * 255).round().astype(np.uint8)
    table = np.empty((size, 4), np.uint8)
    table[:] = apart[np.arange(size) % len(apart)]
    names = {index: name for index, name in _names(dataset, labels).items() if index < size}
    try:
        colours = {i: c[:3] for i, c in dataset.colormap(1).items() if i < size}
    except ValueError:  # it has no colour table
        colours = {}
    if labels is not None:
        colours = dict(enumerate(labels.palette))
    for index, colour in colours.items():
        table[index, :3] = colour
    for index, name in names.items():
        table[index, 3] = 0 if name.lower() == 'background' else 255
    if dataset.nodata is not None and 0 <= dataset.nodata < size:
        table[int(dataset.nodata), 3] = 0
    return table


def _names(dataset: rasterio.DatasetReader, labels: LabelSpace | None) -> dict[int, str]:
    return class_names(dataset.tags()) if labels is None else dict(enumerate(labels.classes))


def _legend(
    summary: MapSummary, table: UInt8[np.ndarray, 'n 4'], labels: LabelSpace | None
) -> tuple[LegendEntry, ...]:
    names = () if labels is None else labels.classes
    return tuple(
        LegendEntry(
            name=names[one.index] if one.index < len(names) else one.name,
            colour='#{:02x}{:02x}{:02x}'.format(*table[one.index]) if table[one.index, 3] else None,
            share=f'{one.share:.1%}',
            area=area_text(one.area_m2),
        )
        for one in summary.classes
        if one.index < len(table)
    )


def _gsd_of(dataset: rasterio.DatasetReader) -> tuple[float, float] | None:
    """Metres to the next column and row; None without a place on the globe."""
    try:
        return ground_gsd(
            Georeference.of(dataset),
            height=dataset.height,
            width=dataset.width,
            name=dataset.name,
        )
    except ConfigError:
        return None


def _map_layer(dataset: rasterio.DatasetReader, table: UInt8[np.ndarray, 'n 4']) -> ShownRaster:
    return ShownRaster(
        name='map',
        dataset=dataset,
        bands=(1,),
        paint=lambda values, _: table[values[0]],
        resampling=Resampling.nearest,
        is_photograph=False,
    )


def _confidence_layer(dataset: rasterio.DatasetReader) -> ShownRaster:
    """A layer from dark blue for 0 to yellow for 1."""
    ramp = (colormaps['viridis'](np.arange(_CERTAINTIES + 1)) * 255).round().astype(np.uint8)
    scale = float(dataset.scales[0]) * _CERTAINTIES

    def paint(
        values: Shaped[np.ndarray, 'c h w'], valid: Bool[np.ndarray, 'h w']
    ) -> UInt8[np.ndarray, 'h w 4']:
        # NaN cannot become an index of the colours
        known = np.nan_to_num(values[0].astype(np.float64) * scale)
        colours: UInt8[np.ndarray, 'h w 4'] = ramp[known.round().clip(0, _CERTAINTIES).astype(int)]
        colours[~valid] = 0
        return colours

    return ShownRaster(
        name='confidence',
        dataset=dataset,
        bands=(1,),
        paint=paint,
        resampling=Resampling.nearest,
        is_photograph=False,
    )


def _on_grid(
    source: rasterio.DatasetReader, of_map: rasterio.DatasetReader, stack: ExitStack
) -> rasterio.DatasetReader | WarpedVRT:
    """A scene on the grid of a map, warped if needed."""
    if source.shape == of_map.shape and _is_same(source, of_map):
        return source
    if source.crs is None or of_map.crs is None:
        raise ConfigError(
            f'{source.name} has {source.width} × {source.height} px and {of_map.name} has '
            f'{of_map.width} × {of_map.height}, and not both are georeferenced: expected the '
            'scene that was mapped'
        )
    return stack.enter_context(
        WarpedVRT(
            source,
            crs=of_map.crs,
            transform=of_map.transform,
            width=of_map.width,
            height=of_map.height,
            resampling=Resampling.nearest if _has_palette(source) else Resampling.bilinear,
            # otherwise the surroundings would be black
            add_alpha=source.nodata is None and ColorInterp.alpha not in source.colorinterp,
        )
    )


def _is_same(source: rasterio.DatasetReader, of_map: rasterio.DatasetReader) -> bool:
    """Whether two rasters of one size lie in one place."""
    if source.crs is None or of_map.crs is None:
        return True  # the map's own scene, georeferenced by control points or not at all
    return Georeference.of(source).has_same_grid(
        Georeference.of(of_map), height=of_map.height, width=of_map.width
    )


def _scene_layer(
    dataset: rasterio.DatasetReader | WarpedVRT,
    source: rasterio.DatasetReader,
    bands: tuple[int, ...] | None,
) -> ShownRaster:
    """A scene in its colours. Unless it is 8-bit, one contrast stretch applies to all of it."""
    chosen = _colour_bands(source) if bands is None else bands
    if not all(1 <= band <= source.count for band in chosen):
        raise BandError(
            f'{source.name} has {source.count} bands, but {chosen} were asked for: choose others'
        )
    layer = ShownRaster(
        name='scene',
        dataset=dataset,
        bands=chosen,
        paint=lambda values, _: np.moveaxis(values, 0, -1),
        resampling=Resampling.nearest if _has_palette(source) else Resampling.average,
        is_photograph=True,
    )
    whole = Window(0, 0, dataset.width, dataset.height)
    sample, valid = layer.values(whole, *fitting(dataset.height, dataset.width, _SAMPLE_PX))
    if not valid.any():
        raise ConfigError(
            f'{source.name} has no data where the map is: expected the scene that was mapped'
        )
    limits = display_limits(colours_of(sample, source)[:, valid])

    def paint(
        values: Shaped[np.ndarray, 'c h w'], valid: Bool[np.ndarray, 'h w']
    ) -> UInt8[np.ndarray, 'h w 4']:
        shown = displayed(colours_of(values, source), limits=limits)
        colours = np.empty((*valid.shape, 4), np.uint8)
        colours[..., :3] = np.moveaxis(shown, 0, -1)  # a single band becomes grey
        colours[..., 3] = np.where(valid, 255, 0)
        return colours

    return replace(layer, paint=paint)


def _has_palette(source: rasterio.DatasetReader) -> bool:
    """Whether its values are numbers of a palette, which must be neither averaged nor mixed."""
    return bool(source.colorinterp[0] == ColorInterp.palette)


def _colour_bands(source: rasterio.DatasetReader) -> tuple[int, ...]:
    """The bands marked red, green and blue, or else the first three, or the first one."""
    named = {meaning: band for band, meaning in enumerate(source.colorinterp, start=1)}
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if all(meaning in named for meaning in wanted):
        return tuple(named[meaning] for meaning in wanted)
    plain = [
        band
        for band, meaning in enumerate(source.colorinterp, start=1)
        if meaning != ColorInterp.alpha
    ] or [1]
    return tuple(plain[:3]) if len(plain) >= 3 else (plain[0],)
