import sys
from pathlib import Path

import fiona
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.transform import Affine

from crossearth.errors import ConfigError
from crossearth.inference import trace_lines
from tests.inference.test_predict import Write

PLACE = Affine(0.5, 0, 499_950, 0, -0.5, 5e6)
ROADS = {
    12: shapely.LineString([(-20, 100), (320, 160)]),
    8: shapely.LineString([(100, -20), (140, 320)]),
    5: shapely.Point(220, 240).buffer(40).exterior,
}


@pytest.fixture
def roads(write_scene: Write) -> Path:
    """Two roads of 12 and 8 pixels that cross, and a ring of 5; half a metre each."""
    pytest.importorskip('skimage', reason='scikit-image is not installed')
    drawn = [(road.buffer(width / 2, cap_style='flat'), 3) for width, road in ROADS.items()]
    scene = write_scene(
        rasterize(drawn, (300, 300), dtype='uint8')[None], 'map.tif', transform=PLACE
    )
    with rasterio.open(scene, 'r+') as dataset:
        dataset.update_tags(CLASS_0='background', CLASS_3='road')
    return scene


@pytest.mark.parametrize('suffix', ['gpkg', 'geojson', 'fgb'])
def test_roads_become_lines_with_lengths_and_widths(
    roads: Path, tmp_path: Path, suffix: str
) -> None:
    made = trace_lines(roads, tmp_path / f'o.{suffix}')
    with fiona.open(made.path) as file:
        records = list(file)
        assert file.crs.to_epsg() == (4326 if suffix == 'geojson' else 32633)
    assert made.lines == len(records) == 5
    assert {one['properties']['class'] for one in records} == {'road'}
    assert {one['properties']['class_id'] for one in records} == {3}
    widths = sorted(one['properties']['width_m'] for one in records)
    np.testing.assert_allclose(widths, [2.5, 4, 4, 6, 6], rtol=0.06)
    lengths = sum(one['properties']['length_m'] for one in records)
    inside = shapely.box(0, 0, 300, 300)
    true = sum(road.intersection(inside).length * 0.5 for road in ROADS.values()) / 0.9996
    assert made.length_m == pytest.approx(lengths)
    assert lengths == pytest.approx(true, rel=0.02)


def test_lines_lie_in_the_middle_and_meet(roads: Path, tmp_path: Path) -> None:
    made = trace_lines(roads, tmp_path / 'o.gpkg')
    with fiona.open(made.path) as file:
        lines = [shapely.geometry.shape(one['geometry']) for one in file]
    in_pixels = [
        shapely.transform(line, lambda at: (at - [499_950, 5e6]) / [0.5, -0.5]) for line in lines
    ]
    true = shapely.union_all([*ROADS.values()])
    found = shapely.union_all(in_pixels)
    along = [true.distance(found.interpolate(at)) for at in np.arange(0, found.length, 2)]
    assert np.mean(along) < 0.8
    assert max(along) < 3
    back = true.intersection(shapely.box(0, 0, 300, 300))
    assert max(found.distance(back.interpolate(at)) for at in np.arange(0, back.length, 2)) < 5
    ring = [line for line in lines if line.is_ring]
    assert len(ring) == 1
    ends = [line.coords[i] for line in lines if not line.is_ring for i in (0, -1)]
    assert sorted(ends.count(end) for end in set(ends)) == [1, 1, 1, 1, 4]


def test_lines_have_the_mean_confidence_along_them(
    roads: Path, write_scene: Write, tmp_path: Path
) -> None:
    values = np.full((1, 300, 300), 127, np.uint8)
    values[0, 180:, 160:] = 254  # the ring
    sure = write_scene(values, 'sure.tif', transform=PLACE)
    with rasterio.open(sure, 'r+') as dataset:
        dataset.scales = (1 / 254,)
    made = trace_lines(roads, tmp_path / 'o.gpkg', confidence=sure)
    with fiona.open(made.path) as file:
        found = {round(one['properties']['width_m']): one['properties'] for one in file}
    assert found[2]['confidence'] == pytest.approx(1)
    assert found[6]['confidence'] == pytest.approx(0.5)
    other = write_scene(values[:, 1:], 'other.tif', transform=PLACE)
    with pytest.raises(ConfigError, match=r'other.tif has \(299, 300\) px .* the same grid'):
        trace_lines(roads, tmp_path / 'o.gpkg', confidence=other)


def test_maps_in_degrees_have_metres_too(roads: Path, write_scene: Write, tmp_path: Path) -> None:
    with rasterio.open(roads) as dataset:
        labels = dataset.read()
    step = 0.5 / 111_412  # of a degree of latitude at 60°
    degrees = write_scene(
        np.repeat(labels, 2, 2),
        'degrees.tif',
        crs='EPSG:4326',
        transform=Affine(step, 0, 10, 0, -step, 60),
    )
    made = trace_lines(degrees, tmp_path / 'o.geojson', classes=[3])
    assert made.length_m == pytest.approx(
        trace_lines(roads, tmp_path / 'o.gpkg').length_m, rel=0.02
    )


def test_long_lines_in_degrees_lie_where_the_road_does(write_scene: Write, tmp_path: Path) -> None:
    pytest.importorskip('skimage', reason='scikit-image is not installed')
    ids = np.zeros((1, 31, 5000), np.uint8)
    ids[:, 14:17] = 1  # 50 km from west to east at 60 degrees north
    place = Affine(10, 0, 450_000, 0, -10, 6_655_000)
    scene = write_scene(ids, transform=place)
    made = trace_lines(scene, tmp_path / 'lines.geojson', classes=[1])
    with fiona.open(made.path) as file:
        (record,) = file
    line = shapely.segmentize(shapely.geometry.shape(record['geometry']), 1e-3)
    back = pyproj.Transformer.from_crs('EPSG:4326', 'EPSG:32633', always_xy=True)
    _, y = back.transform(*shapely.get_coordinates(line).T)
    assert np.abs(y - 6_654_845).max() < 1.0  # a tenth of a pixel
    assert made.length_m == pytest.approx(49_990 / 0.9996, rel=1e-4)


def test_bad_input_is_named_and_leaves_nothing(
    roads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, options, message in [
        ('o.shp', {}, 'unknown suffix: expected .gpkg, .geojson'),
        ('o.gpkg', {'classes': ['street']}, "named 'street': expected background, road"),
        ('o.gpkg', {'simplify_m': -1}, 'simplify_m is -1: expected 0 or more'),
        ('o.gpkg', {'min_length_m': float('nan')}, 'min_length_m is nan'),
    ]:
        with pytest.raises(ConfigError, match=message):
            trace_lines(roads, tmp_path / name, **options)
    monkeypatch.setitem(sys.modules, 'skimage.morphology', None)
    with pytest.raises(ConfigError, match=r"need scikit-image: pip install 'crossearth\[lines\]'"):
        trace_lines(roads, tmp_path / 'o.gpkg')
    assert [path.name for path in tmp_path.iterdir()] == ['map.tif']
