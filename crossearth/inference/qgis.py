"""Styles that QGIS applies when it opens a map."""

from pathlib import Path
from xml.etree import ElementTree as ET

from crossearth.inference.writer import whole_file
from crossearth.labels import LabelSpace

__all__ = ['qgis_style', 'write_qgis_style']


def qgis_style(labels: LabelSpace) -> str:
    """A QGIS layer style (`.qml`) that draws class ids in their colours, with their names.

    Args:
        labels: Names and colours.

    Returns:
        XML.

    Example:
        >>> from crossearth.labels import ROAD
        >>> 'color="#ffffff" label="road" value="1"' in qgis_style(ROAD)
        True
    """
    root = ET.Element('qgis', version='3.0', styleCategories='Symbology')
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
            alpha='255',
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


def write_qgis_style(map_path: Path, labels: LabelSpace) -> Path:
    """Write the style next to a map, under the name that QGIS looks for.

    Args:
        map_path: The map.
        labels: Names and colours.

    Returns:
        Path of the `.qml`.
    """
    path = map_path.with_suffix('.qml')
    with whole_file(path) as temporary:
        temporary.write_text(qgis_style(labels), encoding='utf-8')
    return path
