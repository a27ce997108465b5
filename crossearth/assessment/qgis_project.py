"""A QGIS project for labelling: the scene, the points, and a form with a list of labels."""

import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

from crossearth.assessment.sample_folder import POINTS, Design
from crossearth.rasters import describe_raster

__all__ = ['PROJECT', 'qgis_project', 'write_project']

PROJECT = 'labelling.qgz'
_VERSION = '3.22.0'  # projects of a newer version than the user's open with a warning
_POINTS, _PIXELS, _SCENE = 'points_layer', 'pixels_layer', 'scene_layer'


def write_project(folder: Path, design: Design) -> Path:
    """Write `labelling.qgz` into the folder of a sample, next to its points.

    Args:
        folder: Folder of the sample.
        design: The sample.

    Raises:
        SceneError: If the scene cannot be read.
    """
    path = folder / PROJECT
    scene_crs = None if design.scene is None else describe_raster(design.scene).georeference.crs_wkt
    text = qgis_project(design, has_chips=(folder / 'chips').is_dir(), scene_crs_wkt=scene_crs)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('labelling.qgs', text)
    return path


def qgis_project(design: Design, *, has_chips: bool, scene_crs_wkt: str | None = None) -> str:
    """The project as XML (`.qgs`), with paths relative to the folder of the sample.

    Args:
        design: The sample.
        has_chips: Whether points have pictures.
        scene_crs_wkt: CRS of the scene. QGIS does not take it from the file of a project's layer.

    Source: project files of QGIS 3.22. Only what differs from QGIS's defaults is written.
    """
    root = ET.Element('qgis', version=_VERSION, projectname='Labelling')
    ET.SubElement(root, 'title').text = 'Labelling'
    _add_crs(ET.SubElement(root, 'projectCrs'), design.crs_wkt)
    tree = ET.SubElement(root, 'layer-tree-group')
    layers = ET.SubElement(root, 'projectlayers')
    order = [(_POINTS, 'points'), (_PIXELS, 'pixels')]
    if design.scene is not None:
        order.append((_SCENE, 'scene'))
    for name, title in order:  # the first layer is drawn on top
        ET.SubElement(
            tree, 'layer-tree-layer', id=name, name=title, checked='Qt::Checked', expanded='0'
        )
    _add_points(layers, design, has_chips=has_chips)
    _add_pixels(layers, design)
    if design.scene is not None:
        _add_scene(layers, design.scene, scene_crs_wkt)
    _add_view(root, design)
    properties = ET.SubElement(root, 'properties')
    paths = ET.SubElement(properties, 'Paths')
    ET.SubElement(paths, 'Absolute', type='bool').text = 'false'
    reference = ET.SubElement(properties, 'SpatialRefSys')  # without it, projectCrs is not read
    ET.SubElement(reference, 'ProjectionsEnabled', type='int').text = '1'
    ET.indent(root)
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        + ET.tostring(root, encoding='unicode')
        + '\n'
    )


def _add_crs(parent: ET.Element, wkt: str) -> None:
    system = ET.SubElement(parent, 'spatialrefsys', nativeFormat='Wkt')
    ET.SubElement(system, 'wkt').text = wkt


def _add_layer(
    layers: ET.Element, name: str, title: str, source: str, *, kind: str, geometry: str | None
) -> ET.Element:
    attributes = {'type': kind} | ({} if geometry is None else {'geometry': geometry})
    layer = ET.SubElement(layers, 'maplayer', attributes)
    ET.SubElement(layer, 'id').text = name
    ET.SubElement(layer, 'datasource').text = source
    ET.SubElement(layer, 'layername').text = title
    provider = ET.SubElement(layer, 'provider', {} if kind == 'raster' else {'encoding': 'UTF-8'})
    provider.text = 'gdal' if kind == 'raster' else 'ogr'
    return layer


def _add_points(layers: ET.Element, design: Design, *, has_chips: bool) -> None:
    source = f'./{POINTS}|layername=points'
    layer = _add_layer(layers, _POINTS, 'points', source, kind='vector', geometry='Point')
    _add_crs(ET.SubElement(layer, 'srs'), design.crs_wkt)
    _add_point_symbols(layer)
    fields = ET.SubElement(layer, 'fieldConfiguration')
    _add_widget(fields, 'fid', 'Hidden')
    _add_widget(fields, 'id', 'TextEdit')
    labels = ET.SubElement(_add_widget(fields, 'label', 'ValueMap'), 'Option', type='List')
    labels.set('name', 'map')
    for name in design.classes.values():
        entry = ET.SubElement(labels, 'Option', type='Map')
        ET.SubElement(entry, 'Option', type='QString', name=name, value=name)
    _add_widget(fields, 'note', 'TextEdit')
    if has_chips:
        viewer = _add_widget(fields, 'chip', 'ExternalResource')
        for name, kind, value in (
            ('DocumentViewer', 'int', '1'),  # a picture
            ('DocumentViewerHeight', 'int', '400'),
            ('DocumentViewerWidth', 'int', '400'),
            ('FileWidget', 'bool', 'false'),
            ('RelativeStorage', 'int', '1'),  # relative to the project
        ):
            ET.SubElement(viewer, 'Option', type=kind, name=name, value=value)
    editable = ET.SubElement(layer, 'editable')
    for name in ('fid', 'id', 'label', 'note', 'chip'):
        ET.SubElement(editable, 'field', name=name, editable=str(int(name in {'label', 'note'})))
    ET.SubElement(layer, 'editorlayout').text = 'generatedlayout'
    ET.SubElement(layer, 'featformsuppress').text = '2'  # always show the form
    ET.SubElement(layer, 'previewExpression').text = '"id"'


def _add_widget(fields: ET.Element, name: str, kind: str) -> ET.Element:
    """Add the form's widget for a field, and return the element that takes its settings."""
    widget = ET.SubElement(ET.SubElement(fields, 'field', name=name), 'editWidget', type=kind)
    return ET.SubElement(ET.SubElement(widget, 'config'), 'Option', type='Map')


def _add_point_symbols(layer: ET.Element) -> None:
    """Draw points without a label as red rings, and the others as green ones."""
    renderer = ET.SubElement(layer, 'renderer-v2', type='RuleRenderer')
    rules = ET.SubElement(renderer, 'rules', key='rules')
    symbols = ET.SubElement(renderer, 'symbols')
    for index, (title, text, colour) in enumerate(
        (
            ('to be labelled', '"label" IS NULL OR "label" = \'\'', '230,20,20,255'),
            ('labelled', 'ELSE', '30,170,60,255'),
        )
    ):
        ET.SubElement(
            rules, 'rule', key=f'rule{index}', label=title, filter=text, symbol=str(index)
        )
        symbol = ET.SubElement(symbols, 'symbol', type='marker', name=str(index), alpha='1')
        _add_symbol_layer(
            symbol,
            'SimpleMarker',
            {
                'name': 'circle',
                'color': '0,0,0,0',
                'outline_color': colour,
                'outline_width': '0.6',
                'size': '6',
            },
        )


def _add_pixels(layers: ET.Element, design: Design) -> None:
    source = f'./{POINTS}|layername=pixels'
    layer = _add_layer(layers, _PIXELS, 'pixels', source, kind='vector', geometry='Polygon')
    _add_crs(ET.SubElement(layer, 'srs'), design.crs_wkt)
    renderer = ET.SubElement(layer, 'renderer-v2', type='singleSymbol')
    symbols = ET.SubElement(renderer, 'symbols')
    symbol = ET.SubElement(symbols, 'symbol', type='fill', name='0', alpha='1')
    _add_symbol_layer(
        symbol,
        'SimpleFill',
        {'style': 'no', 'outline_color': '255,224,0,255', 'outline_width': '0.4'},
    )


def _add_symbol_layer(symbol: ET.Element, kind: str, options: dict[str, str]) -> None:
    symbol_layer = ET.SubElement(symbol, 'layer', {'class': kind, 'enabled': '1'})
    values = ET.SubElement(symbol_layer, 'Option', type='Map')
    for name, value in options.items():
        ET.SubElement(values, 'Option', type='QString', name=name, value=value)


def _add_scene(layers: ET.Element, scene: str, crs_wkt: str | None) -> None:
    layer = _add_layer(layers, _SCENE, 'scene', scene, kind='raster', geometry=None)
    if crs_wkt is not None:
        _add_crs(ET.SubElement(layer, 'srs'), crs_wkt)


def _add_view(root: ET.Element, design: Design) -> None:
    """Set the initial view so that all points are visible."""
    x, y = zip(*(design.centre(unit) for unit in design.units), strict=True)
    canvas = ET.SubElement(root, 'mapcanvas', name='theMapCanvas')
    extent = ET.SubElement(canvas, 'extent')
    for name, value in zip(
        ('xmin', 'ymin', 'xmax', 'ymax'), (min(x), min(y), max(x), max(y)), strict=True
    ):
        ET.SubElement(extent, name).text = repr(value)
    _add_crs(ET.SubElement(canvas, 'destinationsrs'), design.crs_wkt)
