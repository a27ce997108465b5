import pytest

from crossearth.datasets.files import RasterFile
from crossearth.datasets.pairing import guess_patterns, looks_like_mask, pair_files
from crossearth.errors import LabelError


def file(path):
    *below, stem = path.rpartition('.')[0].split('/')
    return RasterFile(tuple(below), stem, f'/{path}')


def files(*paths):
    return [file(path) for path in paths]


@pytest.mark.parametrize(
    ('images', 'masks', 'patterns'),
    [
        (['1.tif', '2.tif'], ['1.png', '2.png'], ('*', '*')),
        (['IMG_01.tif', 'IMG_02.tif'], ['MSK_01.tif', 'MSK_02.tif'], ('IMG_*', 'MSK_*')),
        (['7_sat.jpg', '9_sat.jpg'], ['7_mask.png', '9_mask.png'], ('*_sat', '*_mask')),
        (['a1.tif', 'a2.tif', 'b3.tif'], ['a1_lab.png', 'b3_lab.png'], ('*', '*_lab')),
        (['scene.tif'], ['labels.tif'], ('scene*', 'labels*')),
        (['top_1_RGB.tif', 'top_2_RGB.tif'], ['top_1_label.tif', 'top_2_label.tif'],
         ('*_RGB', '*_label')),
        (['x/images/1.tif', 'y/images/1.tif'], ['x/masks/1.tif', 'y/masks/1.tif'],
         ('*images/*', '*masks/*')),
    ],
)  # fmt: skip
def test_the_plainest_patterns_that_pair_all_are_found(images, masks, patterns):
    found = guess_patterns(files(*images), files(*masks))
    assert found == patterns
    pairs = pair_files(files(*images), files(*masks), image_names=found[0], mask_names=found[1])
    assert sum(mask is not None for _, mask in pairs) == len(masks)


@pytest.mark.parametrize(
    ('path', 'mask'),
    [
        ('1_mask.png', True), ('gt/1.png', True), ('Labels/1.png', True), ('msk1.png', True),
        ('damask.png', False), ('1.png', False), ('segment_3.png', False), ('sat/1_rgb.png', False),
    ],
)  # fmt: skip
def test_masks_are_known_by_whole_words(path, mask):
    assert looks_like_mask(file(path)) is mask


def test_two_images_of_one_mask_are_refused_and_without_a_mask_both_are_there():
    """Both would be trained on, and a split could put them on its two sides."""
    twins = files('x/8.png', 'x/8.tif', '8.tif', '9.png', '9.tif')
    with pytest.raises(LabelError, match=r'/x/8\.tif: /x/8\.png is an image of the same name'):
        pair_files(twins, files('x/8.jpg', '8.jpg'))
    assert pair_files(twins[1:], files('x/8.jpg', '8.jpg')) == [
        *zip(twins[1:3], files('x/8.jpg', '8.jpg'), strict=True),
        *((file, None) for file in twins[3:]),
    ]
