"""Writes mosaics as virtual rasters (GDAL VRT), which only refer to their maps."""

import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from crossearth.errors import ConfigError
from crossearth.inference.qgis import attribute_table
from crossearth.inference.writer import Layer, marked, write_text
from crossearth.labels import LabelSpace
from crossearth.mosaic.grid import MosaicGrid, Placed
from crossearth.mosaic.sources import MapSource

__all__ = ['write_virtual_mosaic']

_TYPES = {'uint8': 'Byte', 'uint16': 'UInt16'}


def write_virtual_mosaic(
    path: Path,
    placed: Sequence[Placed],
    grid: MosaicGrid,
    layer: Layer,
    *,
    labels: LabelSpace | None,
    folder: Path,
    is_first_on_top: bool,
) -> None:
    """Write a VRT of maps whose pixels coincide with those of the mosaic.

    Args:
        path: File to write.
        placed: The maps.
        grid: Grid of the mosaic.
        layer: What the mosaic holds.
        labels: Names and colours for the attribute table inside the VRT; None for none.
        folder: Final folder of the VRT, to which the paths of the maps are relative.
        is_first_on_top: Whether the first map covers the others, or else the last one.

    Raises:
        ConfigError: If a map has other pixels, a mask, or another nodata while the nodata of the
            mosaic may be one of its classes.
        WriteError: If the file cannot be written.
    """
    for one in placed:
        if one.corner is None:
            raise ConfigError(
                f'{one.source.path} has other pixels than the mosaic, whose grid is {grid}: a VRT '
                'needs maps on one grid, so write a .tif'
            )
        if one.source.has_mask:
            raise ConfigError(
                f'{one.source.path} has a mask, which a VRT would lose: write a .tif instead'
            )
        if one.source.nodata != layer.nodata and _may_hold(layer.nodata, one.source, layer):
            raise ConfigError(
                f'{one.source.path} has nodata {one.source.nodata}, and {layer.nodata} may be one '
                'of its classes, but means no data in the mosaic: a VRT needs maps with nodata '
                f'{layer.nodata} (gdal_edit.py -a_nodata), so write a .tif'
            )
    root = ET.Element('VRTDataset', rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    ET.SubElement(root, 'SRS', dataAxisToSRSAxisMapping=_axes(grid)).text = grid.crs.to_wkt()
    numbers = ', '.join(repr(float(value)) for value in grid.transform.to_gdal())
    ET.SubElement(root, 'GeoTransform').text = numbers
    metadata = ET.SubElement(root, 'Metadata')
    for key, text in marked(layer.tags).items():
        ET.SubElement(metadata, 'MDI', key=key).text = text
    band = ET.SubElement(root, 'VRTRasterBand', dataType=_TYPES[layer.dtype], band='1')
    ET.SubElement(band, 'Description').text = layer.band_names[0]
    ET.SubElement(band, 'NoDataValue').text = str(layer.nodata)
    _add_colours(band, layer)
    if labels is not None:
        band.extend(ET.fromstring(attribute_table(labels)).iter('GDALRasterAttributeTable'))
    # GDAL draws one source over the other, the last one on top
    for one in reversed(placed) if is_first_on_top else placed:
        _add_source(band, one, folder)
    ET.indent(root)
    write_text(path, ET.tostring(root, encoding='unicode') + '\n')


def _may_hold(label: float | int | None, source: MapSource, layer: Layer) -> bool:
    """Whether a label may be a class of a map, as far as its header tells."""
    if 'NUM_CLASSES' in layer.tags:
        return False  # then the nodata of the layer is none of the classes
    names = dict(source.classes.names)
    if names or label is None:
        return label in names
    return label <= np.iinfo(source.dtype).max


def _axes(grid: MosaicGrid) -> str:
    """Axis order of the CRS. Authorities often put latitude first, but rasters put x first."""
    north_first = grid.crs.axis_info[:1] and grid.crs.axis_info[0].direction == 'north'
    return '2,1' if north_first else '1,2'


def _add_colours(band: ET.Element, layer: Layer) -> None:
    ET.SubElement(band, 'ColorInterp').text = 'Palette' if layer.colours else 'Gray'
    if not layer.colours:
        return
    table = ET.SubElement(band, 'ColorTable')
    for index in range(max(layer.colours) + 1):
        parts = zip(('c1', 'c2', 'c3', 'c4'), layer.colours.get(index, (0, 0, 0, 255)), strict=True)
        ET.SubElement(table, 'Entry', {name: str(value) for name, value in parts})


def _add_source(band: ET.Element, one: Placed, folder: Path) -> None:
    source = one.source
    assert one.corner is not None
    has_nodata = source.nodata is not None
    element = ET.SubElement(band, 'ComplexSource' if has_nodata else 'SimpleSource')
    is_file = not str(source.path).startswith('/vsi') and '://' not in str(source.path)
    name = os.path.relpath(source.path, folder) if is_file else str(source.path)
    ET.SubElement(element, 'SourceFilename', relativeToVRT=str(int(is_file)), shared='0').text = (
        Path(name).as_posix() if is_file else name
    )
    ET.SubElement(element, 'SourceBand').text = '1'
    ET.SubElement(
        element,
        'SourceProperties',
        RasterXSize=str(source.width),
        RasterYSize=str(source.height),
        DataType=_TYPES[source.dtype],
        BlockXSize=str(min(source.width, 512)),
        BlockYSize=str(min(source.height, 512)),
    )
    row, col = one.corner
    sides = {'xSize': str(source.width), 'ySize': str(source.height)}
    ET.SubElement(element, 'SrcRect', {'xOff': '0', 'yOff': '0', **sides})
    ET.SubElement(element, 'DstRect', {'xOff': str(col), 'yOff': str(row), **sides})
    if has_nodata:
        ET.SubElement(element, 'NODATA').text = str(source.nodata)
