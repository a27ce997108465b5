import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.control import GroundControlPoint

from crossearth.datasets import HoldOut, SceneDataset, read_scene
from crossearth.datasets.cut import footprint_of
from crossearth.errors import ConfigError, SceneNotFoundError
from crossearth.geometry import Window
from crossearth.labels import ISPRS


def at(write_raster, name, *, col=0, row=0, size=20):
    """A scene of 1 m pixels in EPSG:32633, its corner so many pixels from a fixed one."""
    place = Affine(1, 0, 500_000 + col, 0, -1, 5_000_000 - row)
    pixels = np.full((3, size, size), 7, np.uint8)
    return read_scene(write_raster(name, pixels, transform=place))


def test_whole_scenes_go_where_their_middle_lies_and_overlapping_ones_nowhere(
    write_raster, tmp_path
):
    scenes = [at(write_raster, f'{col}.tif', col=col) for col in (0, 15, 40, 60, 80)]
    rule = HoldOut(boxes=[(500_030, 4_999_900, 500_075, 5_000_100)], crs='EPSG:32633')
    held = rule.portion(scenes, 'held_out', folder=tmp_path)
    rest = rule.portion(scenes, 'rest', folder=tmp_path)
    assert held == scenes[2:4]
    assert rest == [scenes[0], scenes[1], scenes[4]]  # that at 80 touches that at 60
    closer = [*scenes, at(write_raster, '76.tif', col=76)]
    assert closer[-1] not in rule.portion(closer, 'rest', folder=tmp_path)
    assert closer[-1] not in rule.portion(closer, 'held_out', folder=tmp_path)
    assert rule.portion(scenes, 'all', folder=tmp_path) == scenes


def test_scenes_that_are_cut_share_no_pixel_and_lose_none(write_raster, tmp_path):
    scenes = [
        at(write_raster, 'a.tif', size=40),
        at(write_raster, 'b.tif', col=25, size=40),  # overlaps the first
    ]
    boxes = [(500_000, 4_999_960, 500_010, 4_999_980), (500_020, 4_999_980, 500_050, 5_000_000)]
    rule = HoldOut(boxes=boxes, crs='EPSG:32633', whole=False)
    ground = shapely.union_all([shapely.box(*box) for box in boxes])
    seen = {}
    for portion in ('rest', 'held_out'):
        parts = rule.portion(scenes, portion, folder=tmp_path)
        data = SceneDataset(parts, ISPRS)
        for i, scene in enumerate(data.scenes):
            image = data[Window(i, 0, 0, scene.height, scene.width)]['image'][0].numpy()
            for row, col in zip(*np.nonzero(image), strict=True):
                point = scene.transform @ (col + 0.5, row + 0.5)
                seen.setdefault((scene.image, *point), []).append(portion)
    for (_, x, y), portions in seen.items():
        held = shapely.contains(ground, shapely.Point(x, y))
        assert portions == ['held_out' if held else 'rest']
    assert len(seen) == 2 * 40 * 40


def test_boxes_may_be_in_another_crs(write_raster, tmp_path):
    scenes = [at(write_raster, f'{col}.tif', col=col) for col in (0, 1000)]
    box = footprint_of(scenes[1], None)
    west, south, east, north = footprint_of(scenes[1], read_crs('EPSG:4326')).bounds
    rule = HoldOut(boxes=[(west, south, east, north)], crs='EPSG:4326')
    assert rule.portion(scenes, 'held_out', folder=tmp_path) == [scenes[1]]
    assert box.area == 400


def read_crs(name):
    from pyproj import CRS

    return CRS.from_user_input(name)


def test_ranges_of_names_are_in_natural_order(write_raster, tmp_path):
    pixels = np.zeros((3, 8, 8), np.uint8)
    scenes = [read_scene(write_raster(f'x/i{i}.tif', pixels, crs=None)) for i in (1, 2, 9, 10, 11)]
    rule = HoldOut(names=[('x/i2.tif', 'x/i10.tif')])
    assert rule.portion(scenes, 'held_out', folder=tmp_path) == scenes[1:4]
    assert rule.portion(scenes, 'rest', folder=tmp_path) == [scenes[0], scenes[4]]


def test_the_lowest_rows_of_images_without_a_place(write_raster, tmp_path):
    rows = np.repeat(np.arange(20, dtype=np.uint8)[:, None], 8, axis=1)[None]
    scene = read_scene(write_raster('a.tif', rows, crs=None))
    rule = HoldOut(bottom=0.25)
    images = [
        SceneDataset(rule.portion([scene], portion, folder=tmp_path), ISPRS)[0]['image'][0, :, 0]
        for portion in ('rest', 'held_out')
    ]
    assert [image.tolist() for image in images] == [list(range(15)), list(range(15, 20))]


def test_rules_without_meaning_are_refused(write_raster, tmp_path):
    with pytest.raises(ConfigError, match='holds nothing out'):
        HoldOut()
    with pytest.raises(ConfigError, match='only one of boxes and crs'):
        HoldOut(boxes=[(0, 0, 1, 1)])
    with pytest.raises(ConfigError, match='is empty: expected smallest x, smallest y'):
        HoldOut(boxes=[(1, 0, 0, 1)], crs='EPSG:32633')
    with pytest.raises(ConfigError, match='bottom is 1'):
        HoldOut(bottom=1.0)
    scene = at(write_raster, 'a.tif')
    with pytest.raises(ConfigError, match="'EPSG:1' is not a CRS"):
        HoldOut(boxes=[(0, 0, 1, 1)], crs='EPSG:1').portion([scene], 'rest', folder=tmp_path)
    far = HoldOut(boxes=[(0, 0, 1, 1)], crs='EPSG:32633')
    with pytest.raises(SceneNotFoundError, match='leaves no scene to validate on'):
        far.portion([scene], 'held_out', folder=tmp_path)


def test_boxes_that_overlap_are_refused_where_they_cut_scenes():
    boxes = [(0, 0, 20, 20), (20, 0, 40, 20), (35, 10, 50, 30)]
    assert HoldOut(boxes=boxes, crs='EPSG:32633').boxes == boxes
    assert HoldOut(boxes=boxes[:2], crs='EPSG:32633', whole=False).boxes == boxes[:2]
    with pytest.raises(ConfigError, match=r'\(20, 0, 40, 20\) and \(35, 10, 50, 30\) overlap'):
        HoldOut(boxes=boxes, crs='EPSG:32633', whole=False)


def test_a_portion_that_there_is_not_is_refused(write_raster, tmp_path, unchecked):
    scenes = [at(write_raster, f'{i}.tif') for i in range(2)]
    with pytest.raises(
        ConfigError, match="portion is 'held-out': expected one of all, rest, held_out"
    ):
        HoldOut(names=[('0.tif', '0.tif')]).portion(scenes, 'held-out', folder=tmp_path)


@pytest.mark.parametrize('whole', [True, False])
def test_boxes_hold_out_their_ground_however_longitudes_are_counted(write_raster, tmp_path, whole):
    """Scenes of 2 degrees at -160, 178 to 182 and 10, each counted in two ways."""
    lefts = (-161, 199, 178, -182, 180, -180, 10)
    scenes = []
    for left in lefts:
        place = Affine(0.1, 0, left, 0, -0.1, 2)
        pixels = np.full((1, 20, 20), 7, np.uint8)
        scenes.append(
            read_scene(write_raster(f'{left}.tif', pixels, crs='EPSG:4326', transform=place))
        )
    boxes = [(-161.0, -1.0, -158.9, 3.0), (179.5, -1.0, 181.2, 3.0)]
    rule = HoldOut(boxes=boxes, crs='EPSG:4326', whole=whole)
    found = {}
    for side in ('rest', 'held_out'):
        kept = rule.portion(scenes, side, folder=tmp_path)
        found[side] = {(round(s.bounds_xy[0], 6), s.width) for s in kept}
    if whole:
        assert found['held_out'] == {(-161, 20), (199, 20), (180, 20), (-180, 20)}
        assert found['rest'] == {(10, 20), (178, 20), (-182, 20)}
    else:
        assert found['held_out'] == {
            (-161, 20), (199, 20), (179.5, 5), (-180.5, 5), (180, 12), (-180, 12),
        }  # fmt: skip
        assert found['rest'] == {(10, 20), (178, 15), (-182, 15), (181.2, 8), (-178.8, 8)}


def test_whole_scenes_that_meet_across_the_antimeridian_are_on_no_side(write_raster, tmp_path):
    def degrees(left):
        place = Affine(0.1, 0, left, 0, -0.1, 2)
        pixels = np.full((1, 20, 20), 7, np.uint8)
        return read_scene(write_raster(f'{left}.tif', pixels, crs='EPSG:4326', transform=place))

    scenes = [degrees(179), degrees(-180.5), degrees(0)]
    rule = HoldOut(boxes=[(179.5, 0.0, 180.2, 2.0)], crs='EPSG:4326')
    assert rule.portion(scenes, 'held_out', folder=tmp_path) == scenes[:1]
    assert rule.portion(scenes, 'rest', folder=tmp_path) == scenes[2:]


def test_scenes_with_control_points_lie_where_these_place_them(write_raster, tmp_path):
    corners = [(0, 0, 500_000, 5_000_000), (0, 20, 500_020, 5_000_000), (20, 0, 500_000, 4_999_980)]
    points = [GroundControlPoint(*corner, 0) for corner in corners]
    pixels = np.full((3, 20, 20), 7, np.uint8)
    tied = read_scene(write_raster('a.tif', pixels, transform=None, gcps=points))
    assert tied.crs is None
    scenes = [tied, at(write_raster, 'b.tif', col=100)]
    options = {'boxes': [(499_990, 4_999_970, 500_030, 5_000_010)], 'crs': 'EPSG:32633'}
    rule = HoldOut(**options)
    assert rule.portion(scenes, 'held_out', folder=tmp_path) == scenes[:1]
    assert rule.portion(scenes, 'rest', folder=tmp_path) == scenes[1:]
    cutting = HoldOut(**options, whole=False)
    with pytest.raises(ConfigError, match=r'a\.tif: is placed by control points .* with gsd_m'):
        cutting.portion(scenes, 'rest', folder=tmp_path)
    gridded = SceneDataset(scenes, ISPRS, gsd_m=2.0).scenes
    assert [s.image for s in cutting.portion(gridded, 'rest', folder=tmp_path)] == [scenes[1].image]
