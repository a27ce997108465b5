"""The maps of a mosaic: what their files hold, and whether they can be merged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from crossearth.errors import ConfigError, SceneError
from crossearth.inference.map_classes import MapClasses, require_map
from crossearth.inference.map_files import require_confidence
from crossearth.rasters import Georeference, open_raster

__all__ = ['MapSource', 'describe_maps', 'is_mosaic']


@dataclass(frozen=True, slots=True)
class MapSource:
    """A map that becomes part of a mosaic.

    Args:
        path: The map.
        height: Rows.
        width: Columns.
        dtype: Data type.
        nodata: Label of pixels without data; None if all have data.
        has_mask: Whether a mask marks where there is data.
        georeference: Its georeference.
        classes: What it tells about its classes.
        confidence: Confidence on the same pixels; None without.
        probabilities: Probabilities on the same pixels, one band per class; None without.
    """

    path: Path
    height: int
    width: int
    dtype: str
    nodata: int | None
    has_mask: bool
    georeference: Georeference
    classes: MapClasses
    confidence: Path | None = None
    probabilities: Path | None = None


def describe_maps(
    paths: Sequence[str | Path],
    *,
    confidences: Sequence[str | Path] | None = None,
    probabilities: Sequence[str | Path] | None = None,
) -> list[MapSource]:
    """Read the headers of the maps of a mosaic, and of the rasters that were written with them.

    Args:
        paths: The maps.
        confidences: The confidence of each map; None without.
        probabilities: The probabilities of each map; None without.

    Raises:
        SceneNotFoundError: If a file does not exist.
        SceneError: If a file is not a raster, or not a map.
        ConfigError: If there are no maps, one is listed twice, two have different classes, a
            confidence or probabilities lie on other pixels than their map, or their number differs.
    """
    if not paths:
        raise ConfigError('there are no maps: pass at least one')
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise ConfigError('a map is listed twice: pass each map once')
    for name, given in (('confidences', confidences), ('probabilities', probabilities)):
        if given is not None and len(given) != len(paths):
            raise ConfigError(f'got {len(given)} {name} for {len(paths)} maps: pass one per map')
    sources = [_describe(Path(path)) for path in paths]
    for source in sources[1:]:
        _require_same_classes(sources[0], source)
    if confidences is not None:
        sources = [
            replace(source, confidence=_fitting(path, source, bands=1))
            for source, path in zip(sources, confidences, strict=True)
        ]
    if probabilities is not None:
        bands = sources[0].classes.count
        if bands is None:
            raise ConfigError(
                f'{sources[0].path} does not tell how many classes it has, so the bands of the '
                'probabilities are unknown: leave them out, or make the map with crossearth predict'
            )
        sources = [
            replace(source, probabilities=_fitting(path, source, bands=bands))
            for source, path in zip(sources, probabilities, strict=True)
        ]
    return sources


def is_mosaic(path: str | Path) -> bool:
    """Whether a map is a mosaic made by `mosaic_maps`.

    Raises:
        SceneNotFoundError: If the file does not exist.
        SceneError: If it is not a raster.
    """
    with open_raster(path) as dataset:
        return 'MOSAIC_MAPS' in dataset.tags()


def _describe(path: Path) -> MapSource:
    with open_raster(path) as dataset:
        require_map(dataset, path)
        place = Georeference.of(dataset)
        if place.tie_crs is None:
            raise ConfigError(
                f'{path} has no CRS and transform, so it has no place in a mosaic: assign them '
                '(gdal_edit.py -a_srs EPSG:… -a_ullr …), or leave it out'
            )
        place.require_tie(str(path))
        return MapSource(
            path,
            dataset.height,
            dataset.width,
            dataset.dtypes[0],
            _whole(dataset, path),
            MaskFlags.per_dataset in dataset.mask_flag_enums[0],
            place,
            MapClasses.of(dataset),
        )


def _whole(dataset: DatasetReader, path: Path) -> int | None:
    """The nodata value, which is a label like the others."""
    nodata = dataset.nodata
    if nodata is not None and nodata != int(nodata):
        raise SceneError(
            f'{path}: its nodata is {nodata}, expected a whole number: set another value '
            '(gdal_edit.py -a_nodata)'
        )
    return None if nodata is None else int(nodata)


def _require_same_classes(first: MapSource, other: MapSource) -> None:
    one, two = first.classes, other.classes
    if (one.count, one.names, one.space) != (two.count, two.names, two.space):
        raise ConfigError(
            f'{first.path} has the classes {one}{_of(one)}, but {other.path} has {two}{_of(two)}: '
            'expected maps of one label space, so make them with one model'
        )


def _of(classes: MapClasses) -> str:
    return f' of {classes.space}' if classes.space else ''


def _fitting(path: str | Path, source: MapSource, *, bands: int) -> Path:
    """A raster that was written with a map, checked to lie on the same pixels."""
    with open_raster(path) as dataset:
        same_place = Georeference.of(dataset).has_same_grid(
            source.georeference, height=source.height, width=source.width
        )
        if dataset.shape != (source.height, source.width) or not same_place:
            raise ConfigError(
                f'{path} does not lie on the pixels of {source.path}: expected the raster that was '
                'written with that map'
            )
        if bands == 1:
            require_confidence(dataset, path)
        if dataset.count != bands:
            raise ConfigError(
                f'{path} has {dataset.count} band(s), expected {bands} for {source.path}: a '
                'confidence has one band, probabilities have one per class'
            )
    return Path(path)
