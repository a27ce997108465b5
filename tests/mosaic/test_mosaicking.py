from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.merge import merge
from rasterio.transform import Affine
from rasterio.warp import calculate_default_transform, reproject
from rio_cogeo import cog_validate

from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from crossearth.labels import ROAD
from crossearth.mosaic import mosaic_maps
from crossearth.mosaic.rules import checked_rule
from tests.conftest import PLACE
from tests.mosaic.conftest import read

type WriteMap = Callable[..., Path]
type WriteAmounts = Callable[..., Path]


def random_ids(height: int, width: int, seed: int) -> np.ndarray:
    """Classes 0 to 2 with holes of no data."""
    ids = np.random.default_rng(seed).integers(0, 3, (height, width))
    ids[height // 3 : height // 2, width // 4 : width // 2] = 255
    return ids


@pytest.fixture
def three_maps(write_map: WriteMap) -> list[Path]:
    corners = [(400_000, 5_000_000), (400_030, 4_999_980), (399_985, 4_999_950)]
    return [
        write_map(f'{i}.tif', random_ids(60, 50, seed=i), at=corner)
        for i, corner in enumerate(corners)
    ]


@pytest.mark.parametrize('rule', ['first', 'last'])
@pytest.mark.parametrize('suffix', ['tif', 'vrt'])
def test_maps_of_one_grid_are_merged_as_gdal_merges_them(
    three_maps: list[Path], tmp_path: Path, rule: str, suffix: str
) -> None:
    made = mosaic_maps(three_maps, tmp_path / f'all.{suffix}', rule=rule)
    expected, transform = merge(three_maps, method=rule, nodata=255)
    with rasterio.open(made.path) as dataset:
        assert dataset.transform == transform
        assert dataset.nodata == 255
        np.testing.assert_array_equal(dataset.read(), expected)
    assert (made.height, made.width) == expected.shape[1:]
    assert (made.maps, made.moved) == (3, 0)


@pytest.mark.parametrize('rule', ['first', 'last', 'centre', 'majority'])
def test_no_rule_hides_data_under_pixels_without_data(
    three_maps: list[Path], tmp_path: Path, rule: str
) -> None:
    made = read(mosaic_maps(three_maps, tmp_path / 'all.tif', rule=rule).path)
    expected, _ = merge(three_maps, method='first', nodata=255)
    np.testing.assert_array_equal(made == 255, expected[0] == 255)


def test_a_seam_runs_through_the_middle_of_an_overlap(write_map: WriteMap, tmp_path: Path) -> None:
    left = write_map('left.tif', np.full((20, 100), 1))
    right = write_map('right.tif', np.full((20, 100), 2), at=(400_060, 5_000_000))
    made = read(mosaic_maps([left, right], tmp_path / 'all.tif').path)
    assert made.shape == (20, 160)
    assert (made[:, :80] == 1).all()  # columns 60 to 99 overlap
    assert (made[:, 80:] == 2).all()


def test_the_class_of_most_maps_wins_and_of_equals_that_of_the_first(
    write_map: WriteMap, tmp_path: Path
) -> None:
    rows = [[1, 1, 2, 255, 0], [2, 2, 1, 255, 255], [2, 255, 0, 255, 2], [1, 2, 0, 255, 2]]
    maps = [write_map(f'{i}.tif', np.array([row])) for i, row in enumerate(rows)]
    made = read(mosaic_maps(maps, tmp_path / 'all.tif', rule='majority').path)
    assert made.tolist() == [[1, 2, 0, 255, 2]]


def test_the_most_confident_map_wins(
    write_map: WriteMap, write_amounts: WriteAmounts, tmp_path: Path
) -> None:
    maps = [write_map('a.tif', np.array([[1, 1, 1, 255]])), write_map('b.tif', np.full((1, 4), 2))]
    sure = [
        write_amounts('ca.tif', maps[0], np.array([[[0.9, 0.4, 0.5, np.nan]]])),
        write_amounts('cb.tif', maps[1], np.array([[[0.8, 0.7, 0.5, np.nan]]])),
    ]
    made = mosaic_maps(maps, tmp_path / 'all.tif', rule='confidence', confidences=sure)
    assert read(made.path).tolist() == [[1, 2, 1, 2]]


def test_probabilities_are_blended_across_an_overlap(
    write_map: WriteMap, write_amounts: WriteAmounts, tmp_path: Path
) -> None:
    one = write_map('a.tif', np.full((1, 100), 1))
    two = write_map('b.tif', np.full((1, 100), 2), at=(400_060, 5_000_000))
    # the first is three times as sure: 0.75 (1 - t) ≥ 0.25 (1 - t) + 0.5 t up to t = 1/2
    of_one = np.repeat(np.array([[[0.0]], [[0.75]], [[0.25]]]), 100, axis=2)
    of_two = np.repeat(np.array([[[0.5]], [[0.0]], [[0.5]]]), 100, axis=2)
    amounts = [write_amounts('pa.tif', one, of_one), write_amounts('pb.tif', two, of_two)]
    made = read(
        mosaic_maps([one, two], tmp_path / 'c.tif', rule='blend', probabilities=amounts).path
    )
    near_one = 2 * np.minimum(np.arange(100) + 0.5, 99.5 - np.arange(100)) / 100
    weight = near_one[60:], near_one[:40]  # of columns 60 to 99 of the mosaic
    sums = weight[0] * of_one[:, 0, 60:] + weight[1] * of_two[:, 0, :40]
    expected = np.concatenate([np.full(60, 1), sums.argmax(0), np.full(60, 2)])
    assert {1, 2} <= set(expected[60:100].tolist())  # a seam lies within the overlap
    assert (made[0] != expected).sum() <= 1  # at the seam, by the rounding to 254 steps


def test_maps_that_agree_and_maps_that_are_alone_keep_their_class_in_a_blend(
    write_map: WriteMap, write_amounts: WriteAmounts, tmp_path: Path
) -> None:
    # classes chosen by a threshold, or of equal probability after rounding
    maps = [write_map(f'{i}.tif', np.array([[1, 2]])) for i in range(2)]
    even = np.full((3, 1, 2), 1 / 3)
    amounts = [write_amounts(f'p{i}.tif', path, even) for i, path in enumerate(maps)]
    both = mosaic_maps(maps, tmp_path / 'a.tif', rule='blend', probabilities=amounts)
    assert read(both.path).tolist() == [[1, 2]]
    unlikely = np.array([[[0.9, 0.9]], [[0.1, 0.0]], [[0.0, 0.1]]])
    amounts = [write_amounts('u.tif', maps[0], unlikely)]
    alone = mosaic_maps(maps[:1], tmp_path / 'b.tif', rule='blend', probabilities=amounts)
    assert read(alone.path).tolist() == [[1, 2]]


def test_a_map_of_another_zone_is_moved_as_gdal_moves_it(
    write_map: WriteMap, tmp_path: Path
) -> None:
    smooth = np.kron(np.random.default_rng(3).integers(0, 3, (15, 15)), np.ones((20, 20)))
    here = write_map('here.tif', np.full((40, 40), 255), at=(500_000, 5_000_000), size=10)
    there = write_map('there.tif', smooth, at=(28_000, 5_012_000), size=10, crs='EPSG:32634')
    made = mosaic_maps([here, there], tmp_path / 'all.tif', rule='first', crs='EPSG:32633')
    assert made.moved == 1
    with rasterio.open(made.path) as dataset, rasterio.open(there) as source:
        ids = dataset.read(1)
        expected, _ = reproject(
            source.read(1),
            np.full_like(ids, 255),
            src_transform=source.transform,
            src_crs=source.crs,
            dst_transform=dataset.transform,
            dst_crs=dataset.crs,
            src_nodata=255,
            dst_nodata=255,
            tolerance=0,
        )
        assert dataset.res == (10, 10)
    assert (expected != 255).sum() > 80_000
    assert (ids != expected).mean() < 1e-4  # where a centre lies on the border of two pixels
    assert set(np.unique(ids)) == {0, 1, 2, 255}


def test_a_finer_map_gives_the_pixel_under_the_centre(write_map: WriteMap, tmp_path: Path) -> None:
    fine = random_ids(1050, 1050, seed=1)
    path = write_map('fine.tif', fine, at=(420_000, 4_935_000))  # multiples of 105
    made = read(mosaic_maps([path], tmp_path / 'all.tif', pixel_size=105).path)
    np.testing.assert_array_equal(made, fine[52::105, 52::105])


def test_pixels_and_crs_are_those_of_most_maps_or_as_stated(
    write_map: WriteMap, tmp_path: Path
) -> None:
    ids = np.ones((10, 10))
    maps = [
        write_map('a.tif', ids, size=2),
        write_map('b.tif', ids, at=(400_003.5, 5_000_000), size=1),
        write_map('c.tif', ids, at=(400_010.5, 5_000_000), size=1),
        write_map('d.tif', ids, at=(14.0, 45.0), size=1e-4, crs='EPSG:4326'),
    ]
    with rasterio.open(mosaic_maps(maps[:3], tmp_path / 'most.tif').path) as most:
        assert most.res == (1, 1)
        assert most.transform.c % 1 == 0.5  # b and c are copied, a is moved
        assert most.crs.to_epsg() == 32633
    stated = mosaic_maps(maps[:3], tmp_path / 'stated.tif', crs='EPSG:3035', pixel_size=5)
    with rasterio.open(stated.path) as dataset:
        assert (dataset.crs.to_epsg(), dataset.res) == (3035, (5, 5))
        assert dataset.transform.c % 5 == 0
    with rasterio.open(mosaic_maps(maps[3:], tmp_path / 'degrees.tif').path) as degrees:
        np.testing.assert_array_equal(degrees.read(1), ids)


def test_maps_on_both_sides_of_the_antimeridian_are_neighbours(
    write_map: WriteMap, tmp_path: Path
) -> None:
    west = write_map('w.tif', np.full((4, 10), 1), at=(179, 10), size=0.1, crs='EPSG:4326')
    east = write_map('e.tif', np.full((4, 10), 2), at=(-180, 10), size=0.1, crs='EPSG:4326')
    for maps in ([west, east], [east, west]):
        for name in ('all.tif', 'all.vrt'):
            ids = read(mosaic_maps(maps, tmp_path / name, rule='first').path)
            assert ids.tolist() == [[1] * 10 + [2] * 10] * 4


def test_maps_of_two_zones_across_the_antimeridian_meet_in_degrees(
    write_map: WriteMap, tmp_path: Path
) -> None:
    west = write_map('w.tif', np.full((99, 99), 1), at=(817_000, 8_118_000), size=20, crs=32760)
    east = write_map('e.tif', np.full((99, 99), 2), at=(181_000, 8_118_000), size=20, crs=32701)
    for maps in ([west, east], [east, west]):
        made = mosaic_maps(maps, tmp_path / 'all.tif', crs='EPSG:4326')
        with rasterio.open(made.path) as dataset:
            ids, (side, _) = dataset.read(1), dataset.res
        assert side == pytest.approx(20 / 111_000, rel=0.05)
        (_, sizes) = np.unique(ids[ids != 255], return_counts=True)
        # a degree of longitude is 0.956 degrees of latitude long there
        expected = 99 * 99 * (20 / 111_000 / side) ** 2 / 0.956
        np.testing.assert_allclose(sizes, expected, rtol=0.02)


def test_the_pixel_size_in_another_crs_is_close_to_what_gdal_suggests(
    write_map: WriteMap, tmp_path: Path
) -> None:
    path = write_map('a.tif', np.ones((60, 90)))
    for crs in ('EPSG:4326', 'EPSG:3035', 'EPSG:3857'):
        with rasterio.open(path) as dataset:
            suggested, _, _ = calculate_default_transform(
                dataset.crs, crs, dataset.width, dataset.height, *dataset.bounds
            )
        made = mosaic_maps([path], tmp_path / 'all.tif', crs=crs)
        with rasterio.open(made.path) as dataset:
            assert dataset.res[0] == pytest.approx(suggested.a, rel=0.01)


def test_a_map_that_is_small_in_a_wide_block_leaves_the_rest_without_data(
    write_map: WriteMap, tmp_path: Path
) -> None:
    one = write_map('one.tif', np.ones((200, 200)), size=1000)
    far = write_map('far.tif', np.ones((2, 2)), at=(-170, -40), size=1, crs='EPSG:4326')
    ids = read(mosaic_maps([one, far], tmp_path / 'all.tif', crs='EPSG:4326').path)
    assert ids.shape[1] > 170
    assert 6 < (ids == 1).sum() < 16  # of 4, and 200 km of 2.5° by 1.8°


def test_the_mosaic_has_the_names_colours_and_styles_of_its_maps(
    three_maps: list[Path], tmp_path: Path
) -> None:
    for name, rule in (('all.tif', 'centre'), ('all.vrt', 'first')):
        path = mosaic_maps(three_maps, tmp_path / name, rule=rule).path
        with rasterio.open(path) as dataset:
            assert dataset.tags()['CLASS_2'] == 'maize'
            assert dataset.tags()['LABEL_SPACE'] == 'crops'
            assert dataset.tags()['MOSAIC_RULE'] == rule
            assert dataset.colormap(1)[1] == (250, 220, 90, 255)
        assert 'label="wheat"' in path.with_suffix('.qml').read_text()
        rasterio.shutil.copy(path, tmp_path / 'copy.png', driver='PNG')
        table = ET.parse(tmp_path / 'copy.png.aux.xml')
        rows = [[cell.text for cell in row] for row in table.iterfind('.//Row')]
        assert rows[1] == ['1', 'wheat', '250', '220', '90', '255']
    assert cog_validate(tmp_path / 'all.tif')[0]
    for name, rule in (('all.tif', 'centre'), ('all.vrt', 'first')):
        mosaic_maps(three_maps, tmp_path / name, rule=rule, qgis_style=False)
    assert not (tmp_path / 'all.qml').exists()


def test_what_a_kill_left_is_removed(three_maps: list[Path], tmp_path: Path) -> None:
    (tmp_path / '.all.tif.abcd1234').mkdir()
    (tmp_path / '.other.tif.abcd1234').mkdir()
    mosaic_maps(three_maps, tmp_path / 'all.tif')
    assert [path.name for path in tmp_path.glob('.*')] == ['.other.tif.abcd1234']


def test_a_vrt_moves_with_its_maps(write_map: WriteMap, tmp_path: Path) -> None:
    maps = [
        write_map(f'here/maps/{i}.tif', np.full((5, 5), i), at=(400_000 + 5 * i, 5e6))
        for i in range(2)
    ]
    mosaic_maps(maps, tmp_path / 'here' / 'all.vrt', rule='first')
    (tmp_path / 'here').rename(tmp_path / 'there')
    assert read(tmp_path / 'there' / 'all.vrt').tolist() == [[0] * 5 + [1] * 5] * 5


def test_a_vrt_is_refused_where_it_would_show_something_else(
    three_maps: list[Path], write_map: WriteMap, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"rule is 'centre', but a VRT .*: choose 'first'"):
        mosaic_maps(three_maps, tmp_path / 'all.vrt')
    other = write_map('other.tif', np.ones((5, 5)), at=(400_000.5, 5_000_000))
    with pytest.raises(ConfigError, match=r'other.tif has other pixels than the mosaic'):
        mosaic_maps([*three_maps, other], tmp_path / 'all.vrt', rule='first')
    assert not (tmp_path / 'all.vrt').exists()


def test_a_vrt_never_turns_a_class_into_no_data(
    write_map: WriteMap, write_raster: Callable[..., Path], tmp_path: Path
) -> None:
    ones, zeros = np.ones((1, 5, 5), np.uint8), np.zeros((1, 5, 5), np.uint8)
    right = PLACE @ Affine.translation(5, 0)
    first = write_raster('first.tif', ones, nodata=0)
    for nodata in (None, 255):
        other = write_raster('other.tif', zeros, transform=right, nodata=nodata)
        with pytest.raises(ConfigError, match=rf'other.tif has nodata {nodata}, and 0 may be one'):
            mosaic_maps([first, other], tmp_path / 'all.vrt', rule='first')
        with pytest.raises(SceneError, match=r'other.tif has pixels of class 0'):
            mosaic_maps([first, other], tmp_path / 'all.tif', rule='first')
    # the tags of these maps tell that 255 is not one of the classes
    holes = write_map('holes.tif', ones[0])
    whole = write_map('whole.tif', zeros[0], at=(400_005, 5e6), nodata=None)
    made = mosaic_maps([holes, whole], tmp_path / 'all.vrt', rule='first')
    assert read(made.path).tolist() == [[1] * 5 + [0] * 5] * 5


def test_maps_of_different_classes_are_refused(write_map: WriteMap, tmp_path: Path) -> None:
    crops = write_map('crops.tif', np.ones((5, 5)))
    roads = write_map('roads.tif', np.ones((5, 5)), labels=ROAD)
    with pytest.raises(ConfigError, match=r'1 wheat, 2 maize of crops, but .* 1 road of road'):
        mosaic_maps([crops, roads], tmp_path / 'all.tif')
    with pytest.raises(ConfigError, match=r"labels 'road' have 2 classes, but the maps have 3"):
        mosaic_maps([crops], tmp_path / 'all.tif', labels=ROAD)


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')  # one has no place
def test_what_does_not_fit_is_told(
    three_maps: list[Path], write_map: WriteMap, write_amounts: WriteAmounts, tmp_path: Path
) -> None:
    out = tmp_path / 'all.tif'
    with pytest.raises(ConfigError, match=r'there are no maps'):
        mosaic_maps([], out)
    with pytest.raises(ConfigError, match=r'twice'):
        mosaic_maps([three_maps[0]] * 2, out)
    with pytest.raises(ConfigError, match=r'is one of the maps'):
        mosaic_maps(three_maps, three_maps[0])
    with pytest.raises(ConfigError, match=r"rule is 'mean': choose one of first, last"):
        checked_rule('mean')
    with pytest.raises(ConfigError, match=r"'blend' needs the probabilities"):
        mosaic_maps(three_maps, out, rule='blend')
    with pytest.raises(ConfigError, match=r"crs is 'EPSG:no'"):
        mosaic_maps(three_maps, out, crs='EPSG:no')
    with pytest.raises(ConfigError, match=r'pixel_size is 0'):
        mosaic_maps(three_maps, out, pixel_size=0)
    sure = write_amounts('c.tif', three_maps[0], np.ones((1, 60, 50)))
    with pytest.raises(ConfigError, match=r'1 confidences for 3 maps'):
        mosaic_maps(three_maps, out, rule='confidence', confidences=[sure])
    with pytest.raises(ConfigError, match=r'does not lie on the pixels of .*1.tif'):
        mosaic_maps(three_maps, out, rule='confidence', confidences=[sure] * 3)
    with rasterio.open(three_maps[0], 'r+') as dataset:
        dataset.set_band_description(1, 'class')
    with pytest.raises(ConfigError, match=r'0.tif has a band of class ids: expected the confid'):
        mosaic_maps(three_maps, out, rule='confidence', confidences=three_maps)
    with pytest.raises(SceneNotFoundError, match=r'none.tif'):
        mosaic_maps([tmp_path / 'none.tif'], out)
    nowhere = write_map('nowhere.tif', np.ones((5, 5)), crs=None, transform=None)
    with pytest.raises(ConfigError, match=r'nowhere.tif has no CRS .* no place in a mosaic'):
        mosaic_maps([nowhere], out)
    far = write_map('far.tif', np.ones((5, 5)), at=(600_000, 9_000_000), size=1e-3)
    near = write_map('near.tif', np.ones((5, 5)), size=1e-3)
    with pytest.raises(ConfigError, match=r'the mosaic would have \d+ × \d+ px'):
        mosaic_maps([near, far], out)
    with pytest.raises(ConfigError, match=r"0.tif has the CRS .* to 'Mars .*same body"):
        mosaic_maps(three_maps, out, crs='IAU_2015:49900')
    with pytest.raises(ConfigError, match=r'would be 10 × 10 .* choose a smaller pixel_size'):
        mosaic_maps(three_maps, out, crs='EPSG:4326', pixel_size=10)
    assert not list(tmp_path.glob('.all*'))


def test_labels_that_cannot_be_classes_are_refused(write_map: WriteMap, tmp_path: Path) -> None:
    wrong = write_map('wrong.tif', np.full((5, 5), 7))
    with pytest.raises(SceneError, match=r'wrong.tif holds class 7, but has 3 classes'):
        mosaic_maps([wrong], tmp_path / 'all.tif')


def test_a_damaged_map_leaves_the_former_mosaic_as_it_was(
    three_maps: list[Path], write_map: WriteMap, tmp_path: Path
) -> None:
    out = mosaic_maps(three_maps, tmp_path / 'all.tif').path
    former = out.read_bytes()
    damaged = write_map('damaged.tif', random_ids(60, 50, seed=9), compress='deflate')
    with rasterio.open(damaged) as dataset:
        offset, length = (
            int(dataset.get_tag_item(f'BLOCK_{what}_0_0', 'TIFF', bidx=1))
            for what in ('OFFSET', 'SIZE')
        )
    content = bytearray(damaged.read_bytes())
    content[offset : offset + length] = bytes(length)
    damaged.write_bytes(content)
    with pytest.raises(SceneError, match=r'damaged.tif: rows \d+ to \d+ cannot be read'):
        mosaic_maps([*three_maps, damaged], out)
    assert out.read_bytes() == former
    assert not list(tmp_path.glob('.*'))
