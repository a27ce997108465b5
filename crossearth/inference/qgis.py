"""Writes names and colours in the files from which QGIS reads them."""

from pathlib import Path
from xml.etree import ElementTree as ET

from crossearth.inference.writer import whole_file, write_text
from crossearth.labels import LabelSpace

__all__ = [
    'attribute_table',
    'has_saved_style',
    'qgis_style',
    'remove_qgis_style',
    'write_attribute_table',
    'write_qgis_style',
]

_ROOT = {'version': '3.0', 'styleCategories': 'Symbology'}  # QGIS writes its full version number

# columns of an attribute table: name, type (0 integer, 2 text) and usage, as numbered by GDAL
_COLUMNS = (
    ('Value', 0, 5),
    ('Class', 2, 2),
    ('Red', 0, 6),
    ('Green', 0, 7),
    ('Blue', 0, 8),
    ('Alpha', 0, 9),
)


def qgis_style(labels: LabelSpace) -> str:
    """A QGIS layer style (`.qml`) that draws class ids in their colours, with their names.

    A class named background is transparent.

    Args:
        labels: Names and colours.

    Returns:
        XML.

    Example:
        >>> from crossearth.labels import ROAD
        >>> 'color="#ffffff" label="road" value="1"' in qgis_style(ROAD)
        True
    """
    root = ET.Element('qgis', _ROOT)
    renderer = ET.SubElement(
        ET.SubElement(root, 'pipe'),
        'rasterrenderer',
        type='paletted',
        band='1',
        opacity='1',
        alphaBand='-1',
    )
    palette = ET.SubElement(renderer, 'colorPalette')
    for index, (name, colour) in enumerate(zip(labels.classes, labels.palette, strict=True)):
        red, green, blue = colour
        ET.SubElement(
            palette,
            'paletteEntry',
            alpha=str(_alpha(labels, index)),
            color=f'#{red:02x}{green:02x}{blue:02x}',
            label=name,
            value=str(index),
        )
    ET.indent(root)
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        + ET.tostring(root, encoding='unicode')
        + '\n'
    )


def attribute_table(labels: LabelSpace) -> str:
    """A raster attribute table of class ids, as GDAL stores it next to a file (`.aux.xml`).

    GIS programs show its names and colours. A class named background is transparent.

    Args:
        labels: Names and colours.

    Returns:
        XML.
    """
    root = ET.Element('PAMDataset')
    band = ET.SubElement(root, 'PAMRasterBand', band='1')
    table = ET.SubElement(band, 'GDALRasterAttributeTable', tableType='thematic')
    for index, (title, kind, usage) in enumerate(_COLUMNS):
        column = ET.SubElement(table, 'FieldDefn', index=str(index))
        ET.SubElement(column, 'Name').text = title
        ET.SubElement(column, 'Type').text = str(kind)
        ET.SubElement(column, 'Usage').text = str(usage)
    for index, (name, colour) in enumerate(zip(labels.classes, labels.palette, strict=True)):
        row = ET.SubElement(table, 'Row', index=str(index))
        for value in (index, name, *colour, _alpha(labels, index)):
            ET.SubElement(row, 'F').text = str(value)
    ET.indent(root)
    return ET.tostring(root, encoding='unicode') + '\n'


def write_attribute_table(map_path: Path, labels: LabelSpace) -> None:
    """Write the attribute table where GDAL looks for it.

    Args:
        map_path: The map, in the folder of `whole_file`, which also moves the table.
        labels: Names and colours.
    """
    path = map_path.with_name(f'{map_path.name}.aux.xml')
    write_text(path, attribute_table(labels))


def _alpha(labels: LabelSpace, index: int) -> int:
    return 0 if index == labels.background else 255


def has_saved_style(map_path: Path) -> bool:
    """Whether a map has a style that is not from this library, such as one saved in QGIS.

    Args:
        map_path: The map.
    """
    try:
        return ET.parse(map_path.with_suffix('.qml')).getroot().attrib != _ROOT
    except FileNotFoundError:
        return False
    except (OSError, ET.ParseError):
        return True  # every style that we write can be read


def write_qgis_style(map_path: Path, labels: LabelSpace) -> Path:
    """Write the style next to a map, under the name that QGIS looks for.

    A style that somebody saved in QGIS stays.

    Args:
        map_path: The map.
        labels: Names and colours.

    Returns:
        Path of the `.qml`.
    """
    path = map_path.with_suffix('.qml')
    if not has_saved_style(map_path):
        with whole_file(path) as temporary:
            write_text(temporary, qgis_style(labels))
    return path


def remove_qgis_style(map_path: Path) -> None:
    """Remove our style of a map that is being replaced by one without a style.

    A style that somebody saved in QGIS stays.

    Args:
        map_path: The map.
    """
    if not has_saved_style(map_path):
        map_path.with_suffix('.qml').unlink(missing_ok=True)
