import numpy as np
import pytest
from PIL import Image

from crossearth.errors import LabelError
from crossearth.labels import IGNORE_INDEX, ISPRS
from crossearth.survey.encoding import guess_encoding
from crossearth.survey.mask_values import Tile, read_mask_values


@pytest.fixture
def mask(write_raster):
    """A function that writes a mask of some values, and counts them again."""

    def written(values, name='m.tif', **profile):
        pixels = np.asarray(values)
        pixels = pixels if pixels.ndim == 3 else np.resize(pixels, (1, 8, 8))
        return read_mask_values(str(write_raster(name, pixels, **profile)), most_px=1 << 20)

    return written


def ids(*values, dtype='uint8'):
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ('values', 'expected', 'names'),
    [
        (ids(0, 255), {0: 0, 255: 1}, ('background', 'foreground')),
        (ids(0, 1), {0: 0, 1: 1, 255: 255}, ('background', 'foreground')),
        (ids(0, 1, 255), {0: 0, 1: 1, 255: 255}, ('background', 'foreground')),
        (ids(1, 2, 3), {0: 255, 1: 0, 2: 1, 3: 2, 255: 255}, ('class_1', 'class_2', 'class_3')),
        (ids(0, 1, 2), {0: 0, 1: 1, 2: 2, 255: 255}, ('class_0', 'class_1', 'class_2')),
        (ids(10, 30, 95, 255), {10: 0, 30: 1, 95: 2, 255: 255},
         ('class_10', 'class_30', 'class_95')),
        (ids(0, 85, 170, 255), {0: 0, 85: 1, 170: 2, 255: 3},
         ('class_0', 'class_85', 'class_170', 'class_255')),
        (ids(0, 1, 2, 255), {0: 0, 1: 1, 2: 2, 255: 255}, ('class_0', 'class_1', 'class_2')),
        (ids(-1, 0, 1, dtype='int16'), {-1: 255, 0: 0, 1: 1, 255: 255},
         ('background', 'foreground')),
    ],
)  # fmt: skip
def test_numbers_are_read_as_classes(mask, values, expected, names):
    found = guess_encoding([mask(values)])
    assert found.codec == {
        'class_path': 'crossearth.labels.IdCodec',
        'init_args': {'ids': expected},
    }
    assert found.labels.classes == names


def test_a_value_that_files_call_nodata_is_ignored_where_two_classes_remain(mask):
    found = guess_encoding([mask(ids(0, 1, 2), nodata=0)])
    assert found.ids == {0: IGNORE_INDEX, 1: 0, 2: 1, 255: IGNORE_INDEX}
    assert '0, which the files mark as nodata, is ignored' in found.why
    kept = guess_encoding([mask(ids(0, 1), nodata=0)])
    assert kept.ids == {0: 0, 1: 1, 255: IGNORE_INDEX}
    assert kept.reads([0, 1, 255])  # masks of an unseen place may have pixels without a class


def test_values_that_are_to_be_ignored_have_no_class(mask):
    found = guess_encoding([mask(ids(0, 1, 2))], ignore=(0,))
    assert found.ids == {0: IGNORE_INDEX, 1: 0, 2: 1, 255: IGNORE_INDEX}
    assert found.labels.classes == ('class_1', 'class_2')
    with pytest.raises(LabelError, match=r'every pixel of the masks is ignored \(0 is ignored'):
        guess_encoding([mask(ids(0))], ignore=(0,))


def test_a_word_of_the_path_names_the_one_class(mask):
    assert guess_encoding([mask(ids(0, 255))], hint='my/Roads/masks').labels.classes[1] == 'road'
    assert guess_encoding([mask(ids(0, 255))], hint='scars').labels.classes[1] == 'foreground'


def test_black_and_white_that_was_compressed_is_read_by_a_threshold(tmp_path):
    pixels = np.zeros((64, 64), np.uint8)
    pixels[20:40] = 255
    Image.fromarray(pixels).save(tmp_path / 'm.jpg', quality=60)
    found = guess_encoding([read_mask_values(str(tmp_path / 'm.jpg'), most_px=1 << 20)])
    assert found.threshold == 128
    assert found.classes({0: 3, 12: 1, 200: 5}) == {0: 4, 1: 5}


@pytest.mark.parametrize('values', [(0, 1, 254, 255), (0,) * 40 + (2, 255) * 11 + (40,)])
def test_black_and_white_that_was_smoothed_is_read_by_a_threshold(mask, values):
    assert guess_encoding([mask(ids(*values))]).threshold == 128


def test_an_ignored_255_is_not_the_white_of_a_blurred_mask(mask):
    found = guess_encoding([mask(ids(*[0, 1, 2, 255] * 15, 40))], ignore=(255,))
    assert found.ids == {0: 0, 1: 1, 2: 2, 40: 3, 255: IGNORE_INDEX}


def colour(*colours):
    return np.array(colours, np.uint8).T[:, None].repeat(4, axis=1)


def test_colours_are_classes_in_their_order(mask):
    found = guess_encoding([mask(colour((0, 0, 0), (200, 10, 0), (0, 90, 255)))])
    assert found.codec['init_args'] == {'colours': {'#000000': 0, '#005aff': 1, '#c80a00': 2}}
    assert found.labels.palette == ((0, 0, 0), (0, 90, 255), (200, 10, 0))


def test_palettes_give_colours_in_the_order_of_their_numbers(mask):
    colours = {0: (9, 9, 9, 255), 1: (200, 10, 0, 255), 2: (0, 90, 255, 255)}
    written = mask(ids(0, 1, 2))
    with open_for_update(written.path) as target:
        target.write_colormap(1, colours)
    found = guess_encoding([read_mask_values(written.path, most_px=1 << 20)])
    assert found.codec['init_args'] == {'colours': {'#090909': 0, '#c80a00': 1, '#005aff': 2}}


def open_for_update(path):
    import rasterio

    return rasterio.open(path, 'r+', photometric='palette')


def test_the_colours_of_the_isprs_classes_are_known(mask):
    found = guess_encoding([mask(colour(*ISPRS.palette, (0, 0, 0)))])
    assert found.labels == ISPRS
    assert found.classes({(0, 0, 255): 2, (0, 0, 0): 1}) == {1: 2, IGNORE_INDEX: 1}
    assert '#000000 ignored' in found.why


def test_colours_that_were_compressed_are_moved_to_the_corners(tmp_path):
    pixels = np.zeros((128, 128, 3), np.uint8)
    pixels[32:96, 32:96] = (255, 0, 0)
    Image.fromarray(pixels).save(tmp_path / 'm.jpg', quality=90, subsampling=0)
    values = read_mask_values(str(tmp_path / 'm.jpg'), most_px=1 << 20)
    found = guess_encoding([values])
    assert found.codec['init_args']['match'] == 'threshold'
    assert found.classes({(250, 3, 1): 7})[found.ids[255, 0, 0]] == 7


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (ids(0), r'all labelled pixels of the masks have the value 0: expected at least two'),
        (ids(0, 0, 7, dtype='uint16')[:2], r'have the value 0'),
        (np.arange(200, dtype=np.uint8)[None, :, None], r'200 values, 0 to 199: expected a few'),
        (colour((0, 5, 9)), r'all pixels that count have the colour \(0, 5, 9\)'),
    ],
)
def test_values_that_cannot_be_classes_are_refused(mask, values, message):
    with pytest.raises(LabelError, match=message):
        guess_encoding([mask(values)])


def test_pictures_are_not_masks(mask):
    picture = np.random.default_rng(0).integers(0, 255, (3, 20, 20), np.uint8)
    with pytest.raises(LabelError, match=r'hold \d+ colours: expected a few.* If these are images'):
        guess_encoding([mask(picture)])


def test_masks_of_other_types_are_refused_with_the_command_that_helps(mask):
    with pytest.raises(LabelError, match=r'float32 values.*gdal_translate -ot Byte'):
        mask(np.zeros((1, 8, 8), np.float32))
    with pytest.raises(LabelError, match=r'has 2 bands.*gdal_translate -b 1'):
        mask(np.zeros((2, 8, 8), np.uint8))


def test_numbers_and_colours_in_one_folder_are_refused(mask):
    both = [mask(ids(0, 1)), mask(colour((0, 0, 0), (255, 0, 0)), name='c.tif')]
    with pytest.raises(LabelError, match=r'm\.tif holds numbers, .*c\.tif holds colours'):
        guess_encoding(both)


def test_a_picture_of_colours_may_be_all_black_where_a_class_does_not_occur(mask):
    red = mask(colour((0, 0, 0), (255, 0, 0)))
    black = mask(np.zeros((3, 1, 8), np.uint8), 'black.tif')
    found = guess_encoding([black, red])
    assert found.codec['class_path'] == 'crossearth.labels.colour_codec'
    assert found.classes(black.counts()) == {0: 8}


def test_a_large_mask_is_read_in_tiles_spread_over_it(write_raster):
    pixels = np.zeros((1, 3000, 2100), np.uint8)
    pixels[0, 2048:] = 1
    path = str(write_raster('m.tif', pixels))
    whole = read_mask_values(path, most_px=pixels.size)
    assert whole.counts() == {0: 2048 * 2100, 1: 952 * 2100}
    assert (whole.read_px, len(whole.tiles)) == (pixels.size, 12 * 9)
    assert whole.tiles[-1] == Tile(2816, 2048, 184, 52, {1: 184 * 52})
    some = read_mask_values(path, most_px=3 * 256 * 2100)
    assert sorted({tile.row for tile in some.tiles}) == [0, 1536, 2816]


def test_colours_of_large_numbers_are_told_apart(write_raster):
    pixels = np.zeros((3, 8, 8), np.int32)
    pixels[:, :4] = np.array([1, 0, 2])[:, None, None]
    pixels[:, 4:] = np.array([0, 65536, 2])[:, None, None]
    found = read_mask_values(str(write_raster('m.tif', pixels)), most_px=1 << 20)
    assert [tile.counts for tile in found.tiles] == [{(1, 0, 2): 32, (0, 65536, 2): 32}]


def test_numbers_of_a_palette_can_be_ignored_and_colours_without_numbers_not(tmp_path):
    numbers = np.resize(ids(0, 1, 2), (8, 8))
    picture = Image.fromarray(numbers, mode='P')
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / 'palette.png')
    masks = [read_mask_values(str(tmp_path / 'palette.png'), most_px=1 << 20)]
    found = guess_encoding(masks, ignore=[0])
    assert found.ids == {(255, 0, 0): 0, (0, 255, 0): 1, (0, 0, 0): IGNORE_INDEX}
    assert '#000000 ignored' in found.why
    with pytest.raises(LabelError, match='9 is to be ignored, but the masks hold colours'):
        guess_encoding(masks, ignore=[9])
    with pytest.raises(LabelError, match=r'have the colour \(0, 255, 0\): expected at least two'):
        guess_encoding(masks, ignore=[0, 1])
    picture.convert('RGB').save(tmp_path / 'colours.png')
    masks = [read_mask_values(str(tmp_path / 'colours.png'), most_px=1 << 20)]
    with pytest.raises(LabelError, match='0 is to be ignored, but the masks hold colours'):
        guess_encoding(masks, ignore=[0])
