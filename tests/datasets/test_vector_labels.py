import fiona
import numpy as np
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.features import rasterize

from crossearth.datasets import SceneDataset, VectorLabels, read_scene
from crossearth.errors import ConfigError, LabelError, SceneError, SceneNotFoundError
from crossearth.geometry import Window
from crossearth.labels import BUILDING

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
    with pytest.raises(ConfigError, match='give both'):
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
