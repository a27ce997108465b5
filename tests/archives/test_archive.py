import pytest

from crossearth.archives import ARCHIVES, Part
from crossearth.datasets import ARCHIVE_DATASETS
from crossearth.errors import ConfigError


def test_every_archive_has_a_class_of_its_name_that_reads_it():
    assert list(ARCHIVE_DATASETS) == list(ARCHIVES)
    for name, dataset in ARCHIVE_DATASETS.items():
        assert dataset.__name__ == name
        assert dataset.archive is ARCHIVES[name]


def test_chips_shift_the_last_one_and_small_images_are_one_chip():
    part = Part(options={}, sizes=((6000, 6000, 24), (100, 100, 3)))
    assert part.images == 27
    assert part.chips(512) == 24 * 12 * 12 + 3


def test_a_part_that_does_not_exist_is_an_error_that_lists_the_others():
    assert ARCHIVES['LoveDA'].part(split='val', domain='rural').images == 992
    with pytest.raises(ConfigError, match=r'LoveDA has no part .*: expected one of split=train'):
        ARCHIVES['LoveDA'].part(split='val', domain='sea')
