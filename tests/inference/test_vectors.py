import resource
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import fiona
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import Affine

from crossearth.errors import BusyError, ConfigError, SceneError, SceneNotFoundError, WriteError
from crossearth.inference import summarise_map, trace_lines, vectorize
from crossearth.inference.vector_files import DRIVERS
from crossearth.labels import ISPRS, ROAD
from tests.inference.test_predict import Write
from tests.inference.test_regions import blobs, components


@pytest.mark.parametrize('suffix', ['gpkg', 'geojson', 'fgb'])
def test_file_holds_every_region_with_its_class_and_area(
    write_scene: Write, tmp_path: Path, suffix: str
) -> None:
    labels = blobs(700, 300) - 1
    labels[10:40, 20:60] = 255
    scene = write_scene(labels[None], nodata=255)
    with rasterio.open(scene, 'r+') as dataset:
        dataset.update_tags(CLASS_0='street', CLASS_1='roof')
    made = vectorize(scene, tmp_path / f'out.{suffix}')
    with fiona.open(made.path) as file:
        records = list(file)
        assert file.crs.to_epsg() == (4326 if suffix == 'geojson' else 32633)
    assert made.shapes == len(records) == components(labels, 255)
    names = {record['properties']['class_id']: record['properties']['class'] for record in records}
    assert names == {0: 'street', 1: 'roof', 2: '2', 3: '3'}
    for value in range(4):
        area = sum(
            record['properties']['area_m2']
            for record in records
            if record['properties']['class_id'] == value
        )
        # half a metre a side; UTM near the edge of its zone is 0.04 % off, twice in an area
        assert area == pytest.approx((labels == value).sum() * 0.25, rel=1.5e-3)


def test_areas_in_degrees_are_metres_on_the_ellipsoid(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(
        np.ones((1, 100, 100), np.uint8),
        crs='EPSG:4326',
        transform=Affine(0.01, 0, 10, 0, -0.01, 60),
    )
    made = vectorize(scene, tmp_path / 'out.geojson')
    with fiona.open(made.path) as file:
        (record,) = file
    a, e2 = 6_378_137.0, 0.00669437999014
    lat = np.radians(np.linspace(59, 60, 100_001))
    zone = a**2 * (1 - e2) * np.cos(lat) / (1 - e2 * np.sin(lat) ** 2) ** 2
    expected = np.trapezoid(zone, lat) * np.radians(1)
    assert record['properties']['area_m2'] == pytest.approx(expected, rel=1e-8)


def written(path: Path) -> dict[int, tuple[shapely.Geometry, float]]:
    """Geometry and area of the one polygon of each class."""
    with fiona.open(path) as file:
        return {
            one['properties']['class_id']: (
                shapely.geometry.shape(one['geometry']),
                one['properties']['area_m2'],
            )
            for one in file
        }


def test_long_edges_in_degrees_lie_where_the_pixels_do(write_scene: Write, tmp_path: Path) -> None:
    labels = np.ones((1, 40, 10_000), np.uint8)  # 100 km from west to east at 60 degrees north
    labels[:, 20:] = 2
    labels[:, 5:10, 50:60] = 3
    scene = write_scene(labels, transform=Affine(10, 0, 450_000, 0, -10, 6_655_000))
    vectorize(scene, tmp_path / 'a.geojson')
    back = pyproj.Transformer.from_crs('EPSG:4326', 'EPSG:32633', always_xy=True)
    shapes = {label: shape for label, (shape, _) in written(tmp_path / 'a.geojson').items()}
    for label, bounds in {
        1: (450_000, 6_654_800, 550_000, 6_655_000),
        2: (450_000, 6_654_600, 550_000, 6_654_800),
    }.items():
        edges = shapely.segmentize(shapes[label].exterior, 1e-3)  # straight in degrees
        x, y = back.transform(*shapely.get_coordinates(edges).T)
        off_m = shapely.distance(shapely.points(x, y), shapely.box(*bounds).exterior)
        assert off_m.max() < 1.0  # a tenth of a pixel
    assert shapely.get_num_coordinates(shapes[3]) == 5  # short edges get no points
    # neighbours share the added points
    assert shapely.coverage_is_valid(list(shapes.values()))


@pytest.mark.parametrize(
    ('crs', 'transform'),
    [
        ('EPSG:4326', Affine(1, 0, -180, 0, -1, 80)),
        ('EPSG:4326', Affine(1, 0, 0, 0, -1, 80)),
        ('EPSG:4087', Affine(1e5, 0, -1.8e7, 0, -1e5, 8e6)),
        ('EPSG:3035', Affine(1e4, 0, 2.5e6, 0, -1e4, 5.5e6)),
    ],
    ids=['degrees', '0 to 360', 'plate carree', 'europe'],
)
def test_wide_polygons_keep_their_place_and_area(
    write_scene: Write, tmp_path: Path, crs: str, transform: Affine
) -> None:
    labels = np.zeros((1, 120, 360), np.uint8)
    labels[:, 30:60, 10:350] = 1
    labels[:, 40:45, 100:200] = 2  # a hole in it
    scene = write_scene(labels, crs=crs, transform=transform)
    expected = {one.index: one.area_m2 for one in summarise_map(scene).classes}
    vectorize(scene, tmp_path / 'a.geojson')
    geod = pyproj.Geod(ellps='WGS84')
    found = written(tmp_path / 'a.geojson')
    for label in (0, 1, 2):
        shape, area = found[label]
        assert shape.is_valid
        assert area == pytest.approx(expected[label], rel=1e-5)
        # a geodesic polygon must be smaller than half the globe, and its edges short
        halves = (shape.intersection(shapely.box(lon, -90, lon + 180, 90)) for lon in (-180, 0))
        by_geod = sum(
            abs(geod.geometry_area_perimeter(part)[0])
            for half in halves
            for part in shapely.get_parts(shapely.segmentize(half, 0.05))
        )
        assert by_geod == pytest.approx(expected[label], rel=1e-3)


@pytest.mark.parametrize(
    ('crs', 'transform', 'scale'),
    [
        ('EPSG:32633', Affine(10, 0, 500_000, 0, -10, 8.17e6), 0.9996),
        ('EPSG:32760', Affine(10, 0, 819_900, 0, -10, 8.17e6), 1.0008),
        ('EPSG:3413', Affine(10, 0, -400, 0, -10, 300), 0.96970),
    ],
    ids=['middle', 'antimeridian', 'pole'],
)
def test_holes_are_no_part_of_an_area_across_the_antimeridian_or_a_pole(
    write_scene: Write, tmp_path: Path, crs: str, transform: Affine, scale: float
) -> None:
    labels = np.zeros((1, 60, 80), np.uint8)
    labels[:, 5:55, 5:75] = 1
    labels[:, 20:30, 10:20] = 2
    scene = write_scene(labels, crs=crs, transform=transform, nodata=255)
    vectorize(scene, tmp_path / 'a.gpkg')
    with fiona.open(tmp_path / 'a.gpkg') as file:
        areas = {one['properties']['class_id']: one['properties']['area_m2'] for one in file}
    pixel_m2 = 100 / scale**2
    for label, pixels in {0: 1300, 1: 3400, 2: 100}.items():
        assert areas[label] == pytest.approx(pixels * pixel_m2, rel=1e-3)


@pytest.mark.parametrize(
    ('crs', 'transform', 'lons', 'parts'),
    [
        ('EPSG:32760', Affine(10, 0, 819_900, 0, -10, 8.17e6), (-180, 180), 2),
        ('EPSG:4326', Affine(1e-4, 0, 179.996, 0, -1e-4, -16), (-180, 180), 2),
        ('EPSG:4326', Affine(1e-4, 0, 230, 0, -1e-4, -16), (-129.9995, -129.9925), 1),
    ],
    ids=['utm', 'across', '0 to 360'],
)
def test_geojson_counts_longitudes_from_180_west_to_180_east(
    write_scene: Write,
    tmp_path: Path,
    crs: str,
    transform: Affine,
    lons: tuple[float, float],
    parts: int,
) -> None:
    labels = np.full((1, 60, 80), 255, np.uint8)
    labels[:, 5:55, 5:75] = 1
    labels[:, 20:30, 10:20] = 255
    scene = write_scene(labels, crs=crs, transform=transform, nodata=255)
    vectorize(scene, tmp_path / 'a.geojson')
    with fiona.open(tmp_path / 'a.geojson') as file:
        (one,) = list(file)
    shape = shapely.geometry.shape(one['geometry'])
    assert shape.is_valid
    assert len(shapely.get_parts(shape)) == parts
    assert shape.bounds[::2] == pytest.approx(lons)
    width_deg = sum(part.bounds[2] - part.bounds[0] for part in shapely.get_parts(shape))
    assert 0.006 < width_deg < 0.0075
    assert shape.area == pytest.approx(width_deg * (shape.bounds[3] - shape.bounds[1]), rel=0.07)


def test_small_polygons_and_other_classes_are_left_out(write_scene: Write, tmp_path: Path) -> None:
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 5:15, 5:15] = 1
    labels[0, 20:22, 20:22] = 1
    scene = write_scene(labels)
    made = vectorize(scene, tmp_path / 'out.gpkg', min_area_m2=2, classes=[1], labels=ISPRS)
    assert (made.shapes, made.dropped) == (1, 1)
    with fiona.open(made.path) as file:
        (record,) = file
    assert record['properties']['class'] == 'building'
    assert record['properties']['area_m2'] == pytest.approx(25, rel=1e-3)


def test_polygons_lie_where_the_pixels_do(write_scene: Write, tmp_path: Path) -> None:
    labels = blobs(60, 70)[None]
    transform = Affine(0.4, 0.3, 4e5, 0.3, -0.4, 5e6)
    made = vectorize(write_scene(labels, transform=transform), tmp_path / 'out.gpkg')
    with fiona.open(made.path) as file:
        burnt = rasterize(
            [(record['geometry'], record['properties']['class_id']) for record in file],
            (60, 70),
            transform=transform,
            dtype='uint8',
        )
    np.testing.assert_array_equal(burnt, labels[0])


def test_bad_input_is_named_and_leaves_nothing(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(blobs(20, 20)[None])
    cases: list[tuple[Callable[[], object], type[Exception], str]] = [
        (lambda: vectorize(tmp_path / 'no.tif', tmp_path / 'o.gpkg'), SceneNotFoundError, 'no.tif'),
        (lambda: vectorize(scene, tmp_path / 'o.shp'), ConfigError, 'expected .gpkg, .geojson'),
        (lambda: vectorize(scene, tmp_path / 'x' / 'o.gpkg'), ConfigError, 'create it first'),
        (lambda: vectorize(scene, tmp_path / 'o.gpkg', simplify_m=-1), ConfigError, '0 or more'),
        (
            lambda: vectorize(
                write_scene(np.zeros((2, 9, 9), np.float32), 'f.tif'), tmp_path / 'o.gpkg'
            ),
            SceneError,
            r'2 band\(s\) of float32',
        ),
    ]
    for call, kind, message in cases:
        with pytest.raises(kind, match=message):
            call()
    damaged = write_scene(
        np.random.default_rng(0).integers(0, 9, (1, 1200, 300), np.uint8), 'd.tif', compress='lzw'
    )
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    with pytest.raises(SceneError, match=r'd.tif: rows 512 to 1023 cannot be read'):
        vectorize(damaged, tmp_path / 'o.gpkg')
    assert {path.name for path in tmp_path.iterdir()} == {'scene.tif', 'f.tif', 'd.tif'}


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_map_that_lies_nowhere_is_refused(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(blobs(20, 20)[None], crs=None, transform=None)
    with pytest.raises(ConfigError, match='its polygons cannot be placed'):
        vectorize(scene, tmp_path / 'o.gpkg')


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.fgb'])
def test_a_full_disk_leaves_no_file_or_a_whole_one(
    write_scene: Write, tmp_path: Path, suffix: str
) -> None:
    source = write_scene(blobs(300, 300)[None], name='map.tif', nodata=0)
    whole = tmp_path / f'whole{suffix}'
    expected = vectorize(source, whole).shapes
    size, target = whole.stat().st_size, tmp_path / f'polygons{suffix}'
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    failed = 0
    try:
        for limit in (1_000, size // 3, size // 2, size * 3 // 4, size - 1_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            try:
                vectorize(source, target)
            except WriteError as error:
                failed += 1
                assert target.name in str(error)
                assert not target.exists()
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            if target.exists():
                with fiona.open(str(target)) as file:
                    assert len(file) == expected
                target.unlink()
    finally:
        signal.signal(signal.SIGXFSZ, handler)
    assert failed >= 3


def test_no_limit_of_the_disk_leaves_a_part_of_a_geojson_file(
    write_scene: Write, tmp_path: Path
) -> None:
    source = write_scene(blobs(60, 60)[None], name='map.tif')
    vectorize(source, tmp_path / 'whole.geojson')
    size, target = (tmp_path / 'whole.geojson').stat().st_size, tmp_path / 'o.geojson'
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        for short in (1, 2, 3, 6, 30, 60, 61, 200):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size - len('whole') + 1 - short, hard))
            with pytest.raises(WriteError, match=r'o.geojson cannot be written .*disk full'):
                vectorize(source, target)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert not target.exists()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert vectorize(source, target).path.stat().st_size == size - len('whole') + 1
    assert {path.name for path in tmp_path.iterdir()} == {'map.tif', 'whole.geojson', 'o.geojson'}


@pytest.mark.parametrize('name', ['o.gpkg', 'o.geojson', 'o.fgb'])
def test_only_shapes_of_ours_are_replaced(write_scene: Write, tmp_path: Path, name: str) -> None:
    ids = blobs(60, 60)[None]
    source, out = write_scene(ids, name='map.tif'), tmp_path / name
    empty = write_scene(np.full_like(ids, 255), name='empty.tif', nodata=255)
    out.touch()
    for one in (source, empty, source):  # ours, with shapes and without, and an empty file
        vectorize(one, out)
    trace_lines(source, out, classes=[1])
    vectorize(source, out)
    out.unlink()
    schema = {'geometry': 'Point', 'properties': {'class_id': 'int', 'note': 'str'}}
    with fiona.open(out, 'w', driver=DRIVERS[out.suffix], crs='EPSG:4326', schema=schema) as file:
        file.write(
            {
                'geometry': {'type': 'Point', 'coordinates': (0, 0)},
                'properties': {'class_id': 1, 'note': 'field work'},
            }
        )
    former = out.read_bytes()
    refused = r'holds the layers o, .* fields class_id, note: expected one layer .* another name'
    for write in (vectorize, partial(trace_lines, classes=[1])):
        with pytest.raises(ConfigError, match=refused):
            write(source, out)
    out.write_text('{"version": 1}')
    with pytest.raises(ConfigError, match='exists and cannot be read as shapes'):
        vectorize(source, out)
    out.write_bytes(former)
    assert len(fiona.listlayers(out)) == 1


def test_a_geopackage_with_a_second_layer_or_an_open_journal_is_not_replaced(
    write_scene: Write, tmp_path: Path
) -> None:
    source, out = write_scene(blobs(60, 60)[None], name='map.tif'), tmp_path / 'o.gpkg'
    vectorize(source, out)
    journal = tmp_path / 'o.gpkg-wal'
    journal.touch()
    vectorize(source, out)
    with closing(sqlite3.connect(out, isolation_level=None)) as editor:
        editor.execute('pragma journal_mode=wal')
        editor.execute('create table note (text text)')
        with pytest.raises(BusyError, match=r'o.gpkg is open in another .* in o.gpkg-wal: close'):
            vectorize(source, out)
        editor.execute('drop table note')
    assert not journal.exists()  # closing the file empties it
    vectorize(source, out)
    schema = {'geometry': 'Point', 'properties': {'note': 'str'}}
    with fiona.open(out, 'w', driver='GPKG', layer='survey', crs='EPSG:4326', schema=schema):
        pass
    with pytest.raises(ConfigError, match='holds the layers o, survey, the first with'):
        vectorize(source, out)
    assert fiona.listlayers(out) == ['o', 'survey']


def test_the_background_is_left_out_unless_it_is_asked_for(
    write_scene: Write, tmp_path: Path
) -> None:
    labels = np.zeros((1, 20, 20), np.uint8)
    labels[0, 5:9, 5:9] = 1
    scene = write_scene(labels)
    assert vectorize(scene, tmp_path / 'o.gpkg').shapes == 2  # without names nothing is known
    assert vectorize(scene, tmp_path / 'o.gpkg', labels=ROAD).shapes == 1
    assert vectorize(scene, tmp_path / 'o.gpkg', labels=ROAD, background=True).shapes == 2
    assert vectorize(scene, tmp_path / 'o.gpkg', labels=ROAD, classes=[0]).shapes == 1
    with rasterio.open(scene, 'r+') as dataset:
        dataset.update_tags(CLASS_0='Background', CLASS_1='road')
    assert vectorize(scene, tmp_path / 'o.gpkg').shapes == 1


@pytest.mark.parametrize('suffix', ['gpkg', 'geojson'])
def test_polygons_have_the_mean_confidence_of_their_pixels(
    write_scene: Write, tmp_path: Path, suffix: str
) -> None:
    labels = np.zeros((1400, 90), np.uint8)  # several strips
    labels[100:1300, 30:60] = 1
    labels[10:20, 70:80] = 2
    values = np.random.default_rng(0).integers(0, 255, labels.shape, np.uint8)
    scene = write_scene(labels[None])
    sure = write_scene(values[None], 'sure.tif')
    with rasterio.open(sure, 'r+') as dataset:
        dataset.scales = (1 / 254,)
    made = vectorize(scene, tmp_path / f'o.{suffix}', confidence=sure)
    with fiona.open(made.path) as file:
        means = {one['properties']['class']: one['properties']['confidence'] for one in file}
    for label in range(3):
        expected = values[labels == label].mean() / 254
        assert means[str(label)] == pytest.approx(expected, abs=6e-5)
    other = write_scene(values[None, :-1], 'other.tif')
    with pytest.raises(ConfigError, match=r'other.tif has \(1399, 90\) px .* the same grid'):
        vectorize(scene, tmp_path / f'o.{suffix}', confidence=other)
    three = write_scene(np.repeat(values[None], 3, 0), 'three.tif')
    with pytest.raises(ConfigError, match=r'three.tif has 3 bands: expected the confidence'):
        vectorize(scene, tmp_path / f'o.{suffix}', confidence=three)


def test_maps_of_other_bodies_and_of_no_body_are_told_apart(
    write_scene: Write, tmp_path: Path
) -> None:
    square = np.ones((1, 100, 100), np.uint8)
    mars = write_scene(
        square, 'mars.tif', crs=CRS.from_wkt(MARS), transform=Affine(0.01, 0, 10, 0, -0.01, 1)
    )
    made = vectorize(mars, tmp_path / 'o.gpkg')
    with fiona.open(made.path) as file:
        (one,) = file
    assert one['properties']['area_m2'] == pytest.approx((np.pi / 180 * 3_396_190) ** 2, rel=1e-3)
    with pytest.raises(ConfigError, match=r'GeoJSON needs degrees on the Earth .* \.gpkg or \.fgb'):
        vectorize(mars, tmp_path / 'o.geojson')
    local = write_scene(square, 'local.tif', crs=CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'))
    with pytest.raises(ConfigError, match=r"local.tif has the local CRS 'site', .* -a_srs"):
        vectorize(local, tmp_path / 'o.gpkg')


MARS = (
    'GEOGCS["Mars 2000",DATUM["D_Mars_2000",SPHEROID["Mars_2000",3396190,0]],'
    'PRIMEM["Reference_Meridian",0],UNIT["Degree",0.0174532925199433]]'
)


def turned_building(degrees: float) -> shapely.Polygon:
    """An L with a court of 30 × 22 m, around (40, 40) in metres."""
    outline = [(0, 0), (30, 0), (30, 12), (22, 12), (22, 22), (0, 22)]
    court = [(5, 5), (5, 12), (13, 12), (13, 5)]
    shape = shapely.affinity.translate(shapely.Polygon(outline, [court]), 25, 29)
    return shapely.affinity.rotate(shape, degrees, origin=(40, 40))


def ground_of(geometry: shapely.Polygon, transform: Affine, lat: float) -> shapely.Polygon:
    """Degrees as metres from the corner of a map, on a sphere around its middle."""
    return shapely.transform(
        geometry,
        lambda at: (
            (at - [transform.c, transform.f]) * [111_320 * np.cos(np.radians(lat)), -111_320]
        ),
    )


@pytest.mark.parametrize('degrees', [0, 20, 45, 70])
@pytest.mark.parametrize('crs', ['EPSG:32633', 'EPSG:4326'])
def test_buildings_get_right_angles_on_the_ground(
    write_scene: Write, tmp_path: Path, degrees: float, crs: str
) -> None:
    building = turned_building(degrees)
    step = 0.5 / 111_320  # at 60° a pixel is half as wide as it is high
    transform = (
        Affine(step, 0, 10, 0, -step, 60)
        if crs == 'EPSG:4326'
        else Affine(0.5, 0, 499_960, 0, -0.5, 5e6)
    )
    pixel_m = (0.25, 0.5) if crs == 'EPSG:4326' else (0.5, 0.5)
    in_pixels = shapely.transform(building, lambda at: at / pixel_m)
    labels = rasterize([(in_pixels, 1)], (160, 320), dtype='uint8')
    scene = write_scene(labels[None], crs=crs, transform=transform, nodata=0)
    made = vectorize(scene, tmp_path / 'o.gpkg', square_m=1, squared_classes=[1])
    assert (made.shapes, made.squared) == (1, 1)
    with fiona.open(made.path) as file:
        (one,) = file
    shape = shapely.geometry.shape(one['geometry'])
    if crs == 'EPSG:4326':
        shape = ground_of(shape, transform, 60)
    else:
        shape = shapely.transform(shape, lambda at: (at - [499_960, 5e6]) * [1, -1])
    assert one['properties']['squared'] is True
    assert [len(ring.coords) - 1 for ring in (shape.exterior, *shape.interiors)] == [6, 4]
    for ring in (shape.exterior, *shape.interiors):
        steps = np.diff(shapely.get_coordinates(ring), axis=0)
        steps /= np.hypot(*steps.T)[:, None]
        cosines = (steps * np.roll(steps, 1, 0)).sum(1)
        np.testing.assert_allclose(cosines, 0, atol=0.01 if crs == 'EPSG:4326' else 1e-6)
    overlap = shape.intersection(building).area / shape.union(building).area
    assert overlap > 0.93
    assert one['properties']['area_m2'] == pytest.approx(labels.sum() * np.prod(pixel_m), rel=6e-3)


def test_round_buildings_and_other_classes_keep_their_outline(
    write_scene: Write, tmp_path: Path
) -> None:
    tower = shapely.Point(40, 40).buffer(24)
    labels = rasterize(
        [(tower, 1), (shapely.Point(120, 40).buffer(9), 2)], (80, 160), dtype='uint8'
    )
    scene = write_scene(labels[None], nodata=0)
    with rasterio.open(scene, 'r+') as dataset:
        dataset.update_tags(CLASS_1='Building', CLASS_2='tree')
    made = vectorize(scene, tmp_path / 'o.gpkg', square_m=1)
    plain = vectorize(scene, tmp_path / 'p.gpkg')
    assert (made.shapes, made.squared) == (2, 0)
    with fiona.open(made.path) as file, fiona.open(plain.path) as untouched:
        found = {one['properties']['class']: one for one in file}
        before = {one['properties']['class']: one for one in untouched}
    assert found['tree']['geometry'] == before['tree']['geometry']
    assert found['Building']['properties']['squared'] is False
    round_one, stairs = (
        shapely.geometry.shape(one['Building']['geometry']) for one in (found, before)
    )
    assert len(round_one.exterior.coords) < len(stairs.exterior.coords) / 2
    assert round_one.hausdorff_distance(stairs) < 1 / 3 + 0.36  # a corner of a stair more


def test_right_angles_that_have_no_meaning_are_refused(write_scene: Write, tmp_path: Path) -> None:
    scene = write_scene(blobs(20, 20)[None])
    for options, message in [
        ({'square_m': 1}, r'no class of the map is named building \(its classes: none\)'),
        ({'square_m': 0.3, 'squared_classes': [1]}, r'square_m is 0.3, less than a pixel, 0.5 m'),
        ({'square_m': -1}, 'square_m is -1: expected 0 or more'),
        ({'squared_classes': [1]}, 'squared_classes only works with square_m'),
        ({'classes': ['roof']}, "no class is named 'roof'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            vectorize(scene, tmp_path / 'o.gpkg', **options)
    assert [path.name for path in tmp_path.iterdir()] == ['scene.tif']
    (tmp_path / 'o.gpkg').mkdir()
    with pytest.raises(ConfigError, match=r'o.gpkg is a folder'):
        vectorize(scene, tmp_path / 'o.gpkg')


def test_borders_are_simplified_by_metres(write_scene: Write, tmp_path: Path) -> None:
    labels = blobs(120, 120)[None]
    counts = []
    for name, size in (('a.tif', 0.5), ('b.tif', 5.0)):
        scene = write_scene(labels, name, transform=Affine(size, 0, 4e5, 0, -size, 5e6))
        vectorize(scene, tmp_path / 'o.gpkg', simplify_m=3 * size)
        with fiona.open(tmp_path / 'o.gpkg') as file:
            shapes = [shapely.geometry.shape(one['geometry']) for one in file]
        counts.append(sum(map(shapely.get_num_coordinates, shapes)))
        vectorize(scene, tmp_path / 'o.gpkg')
        with fiona.open(tmp_path / 'o.gpkg') as file:
            shapes = [shapely.geometry.shape(one['geometry']) for one in file]
        counts.append(sum(map(shapely.get_num_coordinates, shapes)))
    assert counts[0] == counts[2] < 0.6 * counts[1]


def test_polygons_that_reach_beyond_the_globe_are_kept_without_an_area(
    write_scene: Write, tmp_path: Path
) -> None:
    labels = np.ones((1, 181, 362), np.uint8)
    labels[:, 60:64, 100:104] = 2
    place = Affine(1e5, 0, -1.81e7, 0, -1e5, 9_050_000)
    scene = write_scene(labels, crs='ESRI:54009', transform=place)
    made = vectorize(scene, tmp_path / 'a.gpkg', min_area_m2=1e9)
    assert (made.shapes, made.dropped) == (2, 0)
    found = written(tmp_path / 'a.gpkg')
    assert found[1][1] is None
    to_degrees = pyproj.Transformer.from_crs('ESRI:54009', 'EPSG:4326', always_xy=True)
    outline = shapely.segmentize(found[2][0].exterior, 1e3)
    degrees = to_degrees.transform(*shapely.get_coordinates(outline).T)
    expected, _ = pyproj.Geod(ellps='WGS84').polygon_area_perimeter(*degrees)
    assert found[2][1] == pytest.approx(abs(expected), rel=1e-5)
    with pytest.raises(ConfigError, match=r'reach beyond the globe.*\.gpkg or \.fgb'):
        vectorize(scene, tmp_path / 'a.geojson')
