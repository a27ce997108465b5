"""Keeps colours, names, metadata and style when a map is changed."""

from contextlib import ExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import rasterio

from crossearth.inference.qgis import has_saved_style, remove_qgis_style
from crossearth.inference.writer import Layer, optimise_for_cloud, whole_file, write_text

__all__ = ['copy_companions', 'copy_metadata', 'layer_of', 'optimise_as']

# domains that describe how the original is stored, which does not hold for a changed map
_OF_THE_FILE = {'IMAGE_STRUCTURE', 'RPC', 'DERIVED_SUBDATASETS', 'COLOR_PROFILE', 'TIFF'}


def layer_of(dataset: rasterio.DatasetReader) -> Layer:
    """The layer of a map that keeps another map's type, nodata, colours, tags and names."""
    try:
        colours = dataset.colormap(1)
    except ValueError:  # it has no colour table
        colours = {}
    # `AREA_OR_POINT` follows from the georeference, see `Georeference.finish`
    tags = {name: value for name, value in dataset.tags().items() if name != 'AREA_OR_POINT'}
    names = (dataset.descriptions[0],) if dataset.descriptions[0] else ()
    return Layer(dataset.dtypes[0], 1, dataset.nodata, colours, tags, names)


def copy_metadata(original: rasterio.DatasetReader, path: Path, **tags: str) -> None:
    """Give a finished GeoTIFF the metadata domains and band metadata, except for statistics.

    Args:
        original: The map that it was made from.
        path: The finished file.
        **tags: Added to the tags of the file.
    """
    with rasterio.open(path, 'r+') as made:
        for domain in set(original.tag_namespaces()) - _OF_THE_FILE:
            if not domain.startswith('xml:'):
                made.update_tags(ns=domain, **original.tags(ns=domain))
        of_band = original.tags(1)
        made.update_tags(1, **{k: v for k, v in of_band.items() if not k.startswith('STATISTICS')})
        made.update_tags(**tags)


def optimise_as(original: rasterio.DatasetReader, path: Path) -> None:
    """Make a file cloud-optimised if the map that it was made from is."""
    if original.tags(ns='IMAGE_STRUCTURE').get('LAYOUT') == 'COG':
        optimise_for_cloud(path, overviews='mode')


def copy_companions(source: Path, destination: Path, temporary: Path, stack: ExitStack) -> None:
    """Copy the attribute table (`.aux.xml`) and the style (`.qml`) of a map to a changed one.

    A style of the changed map that somebody saved in QGIS stays.

    Args:
        source: The map that it was made from.
        destination: The changed map.
        temporary: Its temporary path, in the folder of `whole_file`, which also moves the table.
        stack: Gives the style its final name, next to the map, when it closes.
    """
    sidecar = source.with_name(f'{source.name}.aux.xml')
    if sidecar.is_file():
        root = ET.parse(sidecar).getroot()
        for band in root.iter('PAMRasterBand'):
            for part in [*band]:
                of_pixels = part.tag in {'Histograms', 'Metadata'} and part.get('domain') is None
                if of_pixels:  # statistics and histograms no longer hold for the changed map
                    band.remove(part)
        text = ET.tostring(root, encoding='unicode')
        write_text(temporary.with_name(f'{destination.name}.aux.xml'), f'{text}\n')
    style = source.with_suffix('.qml')
    if has_saved_style(destination):
        return
    if style.is_file():
        copy = stack.enter_context(whole_file(destination.with_suffix('.qml')))
        copy.write_bytes(style.read_bytes())
    else:
        remove_qgis_style(destination)
