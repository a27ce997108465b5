import fiona
import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.features import rasterize

from crossearth.datasets import SceneDataset, read_scene
from crossearth.errors import ConfigError, LabelError, SceneError, SceneNotFoundError
from crossearth.geometry import Window
from crossearth.labels import BUILDING
from crossearth.rasters import VectorLabels

PLACE = Affine(0.5, 0, 400_000, 0, -0.5, 5_800_000)
UTM = CRS.from_epsg(32633)
DRIVERS = {'.gpkg': 'GPKG', '.geojson': 'GeoJSON', '.shp': 'ESRI Shapefile'}


@pytest.fixture
def write_vectors(tmp_path):
    def write(name, shapes, *, epsg=32633, kinds=None):
        """Shapes are drawn in UTM 33 and stored in another CRS."""
        move = Transformer.from_crs(32633, epsg, always_xy=True)
        path = tmp_path / name
        schema = {'geometry': 'Unknown', 'properties': {'kind': 'str'}}
        if path.suffix == '.shp':
            schema['geometry'] = shapes[0].geom_type
        with fiona.open(
            path, 'w', driver=DRIVERS[path.suffix], crs=f'EPSG:{epsg}', schema=schema
        ) as target:
            for i, shape in enumerate(shapes):
                moved = shapely.transform(
                    shape, lambda p: np.stack(move.transform(p[:, 0], p[:, 1]), axis=1)
                )
                target.write(
                    {
                        'type': 'Feature',
                        'geometry': shapely.geometry.mapping(moved),
                        'properties': {'kind': (kinds or ['house'] * len(shapes))[i]},
                    }
                )
        return path

    return write


def box(left, top, right, bottom):
    """A rectangle in pixels of the scene."""
    return shapely.Polygon(
        [PLACE @ corner for corner in ((left, top), (right, top), (right, bottom), (left, bottom))]
    )


@pytest.mark.parametrize(('suffix', 'epsg'), [('.gpkg', 32633), ('.geojson', 4326), ('.shp', 3857)])
def test_polygons_of_any_format_and_crs_fall_on_their_pixels(write_vectors, suffix, epsg):
    path = write_vectors(f'houses{suffix}', [box(10, 20, 30, 26), box(50.6, 1, 60, 8)], epsg=epsg)
    ids = VectorLabels(path).burn(UTM, PLACE, height=40, width=64)
    expected = np.zeros((40, 64), np.uint8)
    expected[20:26, 10:30] = 1
    expected[1:8, 51:60] = 1
    assert (ids == expected).all()


def test_windows_of_a_scene_are_pieces_of_one_map(write_raster, write_vectors):
    pixels = np.ones((3, 40, 64), np.uint8)
    pixels[:, :, :4] = 0
    labels = VectorLabels(write_vectors('houses.gpkg', [box(0, 20, 30, 26)]))
    scene = read_scene(write_raster('a.tif', pixels, nodata=0), labels)
    data = SceneDataset([scene], BUILDING)
    whole, piece = data[0]['mask'], data[Window(0, 15, -3, 16, 16)]['mask']
    assert (whole[20:26, 4:30] == 1).all()
    assert (whole == 1).sum() == 6 * 26
    assert (whole[:, :4] == 255).all()
    assert (piece[:, :3] == 255).all()
    assert (piece[:, 3:] == whole[15:31, :13]).all()


def test_a_resampled_scene_is_burned_at_its_own_resolution(write_raster, write_vectors):
    labels = VectorLabels(write_vectors('houses.gpkg', [box(10, 20, 30, 26)]))
    scene = read_scene(write_raster('a.tif', np.ones((1, 40, 64), np.uint8)), labels)
    mask = SceneDataset([scene], BUILDING, gsd_m=0.1)[0]['mask']
    expected = rasterize(
        [(box(10, 20, 30, 26), 1)], (200, 320), transform=PLACE @ Affine.scale(0.2)
    )
    assert (mask.numpy() == expected).all()


def test_lines_are_as_wide_as_was_said_in_any_crs(write_vectors):
    line = shapely.LineString([PLACE @ (0, 20), PLACE @ (64, 20)])
    for epsg in (32633, 4326, 3857):
        labels = VectorLabels(
            write_vectors(f'roads{epsg}.gpkg', [line], epsg=epsg), line_width_m=4.0
        )
        ids = labels.burn(UTM, PLACE, height=40, width=64)
        assert (ids[16:24, 8:56] == 1).all()
        assert (ids[:15] == 0).all()
        assert (ids[25:] == 0).all()


def test_a_field_tells_the_classes_and_the_later_feature_wins(write_vectors):
    path = write_vectors(
        'all.gpkg', [box(0, 0, 20, 20), box(10, 0, 30, 20)], kinds=['house', 'tree']
    )
    labels = VectorLabels(path, attribute='kind', classes={'house': 1, 'tree': 3}, background=5)
    ids = labels.burn(UTM, PLACE, height=20, width=40)
    assert ids[5, [5, 15, 25, 35]].tolist() == [1, 3, 3, 5]
    with pytest.raises(LabelError, match=r"all\.gpkg: a feature has kind='tree', expected one of"):
        VectorLabels(path, attribute='kind', classes={'house': 1}).burn(
            UTM, PLACE, height=20, width=40
        )


def test_what_cannot_be_burned_says_why(write_vectors, write_raster, tmp_path):
    size = {'height': 8, 'width': 8}
    with pytest.raises(SceneNotFoundError, match=r'none\.gpkg: no such file'):
        VectorLabels(tmp_path / 'none.gpkg').burn(UTM, PLACE, **size)
    text = tmp_path / 'text.gpkg'
    text.write_text('no vectors')
    with pytest.raises(SceneError, match=r'text\.gpkg: no vectors to read'):
        VectorLabels(text).burn(UTM, PLACE, **size)
    line = write_vectors('l.gpkg', [shapely.LineString([PLACE @ (0, 0), PLACE @ (9, 9)])])
    with pytest.raises(LabelError, match='pass line_width_m'):
        VectorLabels(line).burn(UTM, PLACE, **size)
    with pytest.raises(LabelError, match='holds a Point, expected polygons or lines'):
        VectorLabels(write_vectors('p.gpkg', [shapely.Point(PLACE @ (1, 1))])).burn(
            UTM, PLACE, **size
        )
    with pytest.raises(ConfigError, match='its image has no CRS'):
        VectorLabels(line).burn(None, PLACE, **size)
    with pytest.raises(ConfigError, match='pass both'):
        VectorLabels(line, attribute='kind')
    with pytest.raises(ConfigError, match='line_width_m is 0'):
        VectorLabels(line, line_width_m=0.0)


def test_the_real_buildings_of_spacenet_fall_on_real_roofs(real_data):
    folder = real_data / 'georef'
    labels = VectorLabels(folder / 'CosmiQ__solaris__geotiff_labels.geojson')
    scene = read_scene(folder / 'CosmiQ__solaris__sample_geotiff.tif', labels)
    data = SceneDataset([scene], BUILDING)
    whole = data[0]
    with fiona.open(labels.path) as source:
        count = len(source)
        shapes = [(f.geometry, 1) for f in source]
        assert CRS.from_user_input(source.crs_wkt).to_epsg() == 32616
    assert count == 43
    expected = rasterize(shapes, (900, 900), transform=scene.transform)
    seen = whole['mask'] != 255
    assert (whole['mask'].numpy()[seen] == expected[seen]).all()
    assert 0.02 < (whole['mask'] == 1).float().mean() < 0.6
    coarse = SceneDataset([scene], BUILDING, gsd_m=2.0)[0]
    share = (whole['mask'] == 1).sum() / seen.sum()
    assert (coarse['mask'] == 1).sum() / (coarse['mask'] != 255).sum() == pytest.approx(
        float(share), rel=0.03
    )
    image = whole['image'][0].numpy().astype(float)
    steps = np.hypot(*np.gradient(image))

    def step_at_outlines(ids):
        return steps[np.hypot(*np.gradient(ids.astype(float))) > 0].mean()

    buildings = (whole['mask'].numpy() == 1).astype(np.uint8)
    moved = [step_at_outlines(np.roll(buildings, d, axis=1)) for d in (-40, -20, 20, 40)]
    assert step_at_outlines(buildings) > 1.1 * max(moved)


def test_a_file_that_changes_is_read_again(write_vectors):
    import os

    path = write_vectors('a.geojson', [box(0, 0, 4, 4)])
    assert VectorLabels(path).burn(UTM, PLACE, height=10, width=10).sum() == 16
    write_vectors('a.geojson', [box(0, 0, 4, 4), box(5, 5, 7, 7)])
    os.utime(path, ns=(1, 1))
    assert VectorLabels(path).burn(UTM, PLACE, height=10, width=10).sum() == 20


@pytest.mark.parametrize('epsg', [4326, 3857])
@pytest.mark.parametrize('crs', ['EPSG:32633', 'EPSG:3035', '+proj=laea +lat_0=52 +lon_0=13'])
def test_continents_are_burned_where_a_window_is(tmp_path, epsg, crs):
    """A UTM zone cannot show the whole of Eurasia."""
    move = Transformer.from_crs(4326, epsg, always_xy=True)
    land = shapely.box(*move.transform(-170, -80), *move.transform(13.5252, 80))
    sea = shapely.box(*move.transform(13.5252, -80), *move.transform(175, 80))
    path = tmp_path / 'land.gpkg'
    schema = {'geometry': 'Polygon', 'properties': {'kind': 'str'}}
    with fiona.open(path, 'w', driver='GPKG', crs=f'EPSG:{epsg}', schema=schema) as target:
        for shape, kind in ((land, 'land'), (sea, 'sea')):
            target.write(
                {'geometry': shapely.geometry.mapping(shape), 'properties': {'kind': kind}}
            )
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(13.5252, 52.34)
    place = Affine(5, 0, x - 100, 0, -5, y + 100)
    labels = VectorLabels(path, attribute='kind', classes={'land': 2, 'sea': 3})
    ids = labels.burn(CRS.from_user_input(crs), place, height=40, width=40)
    cols, rows = np.meshgrid(np.arange(40) + 0.5, np.arange(40) + 0.5)
    lon, _ = Transformer.from_crs(crs, 4326, always_xy=True).transform(
        place.a * cols + place.c, place.e * rows + place.f
    )
    assert (ids == np.where(lon < 13.5252, 2, 3)).mean() > 0.995
    assert set(np.unique(ids)) == {2, 3}


@pytest.mark.parametrize('wrong', [{'class_id': 300}, {'class_id': -1}, {'background': 256}])
def test_ids_out_of_range_are_refused(wrong):
    with pytest.raises(LabelError, match='are out of range: expected 0 to 255'):
        VectorLabels('a.gpkg', **wrong)


def test_a_class_that_the_labels_do_not_have_is_refused(write_raster, write_vectors):
    vectors = VectorLabels(write_vectors('a.gpkg', [box(0, 0, 4, 4)]), class_id=2)
    scene = read_scene(write_raster('a.tif', np.ones((3, 10, 10), np.uint8)), vectors)
    with pytest.raises(LabelError, match='draws class 2, but building has 2 classes'):
        SceneDataset([scene], BUILDING)


def test_a_field_that_is_not_there_is_named_with_those_that_are(write_vectors):
    path = write_vectors('a.gpkg', [box(0, 0, 4, 4)])
    with pytest.raises(LabelError, match=r"has no field 'Kind', expected one of \['kind'\]"):
        VectorLabels(path, attribute='Kind', classes={'house': 1}).burn(
            UTM, PLACE, height=4, width=4
        )
    with pytest.raises(ConfigError, match="crs='EPSG:nope' is not a CRS"):
        VectorLabels(path, crs='EPSG:nope')


def test_empty_layers_empty_shapes_and_bow_ties_are_drawn_as_far_as_they_go(write_vectors):
    bow = shapely.Polygon([PLACE @ corner for corner in ((0, 0), (4, 4), (4, 0), (0, 4))])
    path = write_vectors('a.gpkg', [shapely.Polygon(), bow, box(6, 6, 8, 8)])
    ids = VectorLabels(path).burn(UTM, PLACE, height=10, width=10)
    assert (ids[6:8, 6:8] == 1).all()
    assert (ids[1:3, [0, 3]] == 1).all()
    assert (ids[[0, 3], 1:3] == 0).all()
    empty = write_vectors('b.gpkg', [])
    assert VectorLabels(empty).burn(UTM, PLACE, height=10, width=10).sum() == 0


@pytest.mark.parametrize(
    'place',
    [
        Affine.translation(400_000, 5_799_990) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5),
        Affine(0.5, 0, 400_000, 0, 0.5, 5_799_980),
    ],
    ids=['rotated', 'south up'],
)
def test_grids_of_any_orientation_hold_the_pixels_whose_centres_are_inside(write_vectors, place):
    shape = box(11.3, 8.2, 30.1, 31.7)
    ids = VectorLabels(write_vectors('a.gpkg', [shape])).burn(UTM, place, height=40, width=56)
    cols, rows = np.meshgrid(np.arange(56) + 0.5, np.arange(40) + 0.5)
    x = place.a * cols + place.b * rows + place.c
    y = place.d * cols + place.e * rows + place.f
    assert (ids == shapely.contains_xy(shape, x, y)).all()
    assert 100 < ids.sum() < 600


@pytest.mark.parametrize('epsg', [4326, 3857])
@pytest.mark.parametrize('left', [-160.0, 200.0, 179.5, -180.5])
@pytest.mark.parametrize('across', [False, True], ids=['two features', 'one feature'])
def test_grids_and_features_may_count_longitudes_differently(tmp_path, epsg, left, across):
    """Features on both sides of 180 degrees cover a scene there; one at -160 covers half of it."""
    shapes = [shapely.box(179.2, 0, 180.8, 1)]
    if not across:
        shapes = [shapely.box(179.2, 0, 180, 1), shapely.box(-180, 0, -179.2, 1)]
    shapes.append(shapely.box(-160, 0, -159.5, 1))
    path = tmp_path / 'land.gpkg'
    schema = {'geometry': 'Polygon', 'properties': {}}
    with fiona.open(path, 'w', driver='GPKG', crs='EPSG:4326', schema=schema) as target:
        for shape in shapes:
            target.write({'geometry': shapely.geometry.mapping(shape), 'properties': {}})
    degree = 1.0 if epsg == 4326 else 40_075_016.6855785 / 360
    place = Affine(degree / 20, 0, left * degree, 0, -degree / 20, 0.9 * degree)
    ids = VectorLabels(path).burn(CRS.from_epsg(epsg), place, height=16, width=20)
    expected = np.ones((16, 20), np.uint8)
    if left in (-160.0, 200.0):
        expected[:, 10:] = 0
    assert (ids == expected).all()


def test_a_line_along_the_antimeridian_is_not_drawn_around_the_globe(tmp_path):
    path = tmp_path / 'roads.gpkg'
    schema = {'geometry': 'LineString', 'properties': {}}
    line = shapely.LineString([(180, -0.1), (180, 0.1)])
    with fiona.open(path, 'w', driver='GPKG', crs='EPSG:4326', schema=schema) as target:
        target.write({'geometry': shapely.geometry.mapping(line), 'properties': {}})
    labels = VectorLabels(path, line_width_m=200.0)
    degrees = CRS.from_epsg(4326)
    there = labels.burn(degrees, Affine(1e-4, 0, 179.998, 0, -1e-4, 0.001), height=20, width=40)
    assert there.sum(axis=1).tolist() == [18] * 20  # 200 m are 18 pixels of 11.1 m
    far = labels.burn(degrees, Affine(1e-4, 0, 30.0, 0, -1e-4, 0.001), height=20, width=40)
    assert not far.any()


def test_vectors_that_cannot_be_drawn_are_told_when_a_dataset_is_opened(
    write_raster, write_vectors, tmp_path
):
    image = write_raster('a.tif', np.ones((3, 10, 10), np.uint8))
    bare = write_raster('b.tif', np.ones((3, 10, 10), np.uint8), crs=None)
    houses = VectorLabels(write_vectors('h.gpkg', [box(0, 0, 4, 4)]))
    line = write_vectors('l.gpkg', [shapely.LineString([PLACE @ (0, 0), PLACE @ (9, 9)])])
    for scene, error, message in (
        (read_scene(image, VectorLabels(tmp_path / 'none.gpkg')), SceneNotFoundError, 'no such'),
        (read_scene(image, VectorLabels(line)), LabelError, 'pass line_width_m'),
        (read_scene(bare, houses), ConfigError, r'b\.tif: has no CRS, so the features of .*gpkg'),
    ):
        with pytest.raises(error, match=message):
            SceneDataset([read_scene(image, houses), scene], BUILDING)
