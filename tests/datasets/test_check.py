import sys

import numpy as np
import pytest
from PIL import Image

from crossearth.cli import main
from crossearth.datasets import (
    CASID,
    DeepGlobeRoads,
    LoveDA,
    MillionAID,
    Potsdam,
    Vaihingen,
    WHUBuildingAerial,
    WHUBuildingSatellite,
    check_archive,
)
from crossearth.errors import ConfigError
from tests.datasets import archive_trees as trees

LARGE = 6000


@pytest.fixture
def complete(tmp_path, monkeypatch):
    """Potsdam, whole, of which the true size is said to be that of the tiny files."""
    import dataclasses

    parts = tuple(
        dataclasses.replace(part, sizes=((trees.SIZE, trees.SIZE, part.images),))
        for part in Potsdam.archive.parts
    )
    monkeypatch.setattr(Potsdam, 'archive', dataclasses.replace(Potsdam.archive, parts=parts))
    trees.potsdam(tmp_path, sorted(parts[0].ids | parts[1].ids))
    return tmp_path


def wrong(findings):
    return [f'{finding.part}: {finding.text}' for finding in findings if finding.wrong]


def test_a_whole_copy_is_found_whole(complete):
    findings = check_archive(Potsdam, complete)
    assert [(f.part, f.text) for f in findings] == [
        ('train', '24 of 24 images'),
        ('test', '14 of 14 images'),
    ]
    assert not wrong(findings)


def test_missing_tiles_wrong_sizes_and_unknown_colours_are_named(complete):
    next(complete.rglob('top_potsdam_2_10_RGB.tif')).unlink()
    (path,) = complete.rglob('top_potsdam_2_11_RGB.tif')
    trees.put(path, trees.picture(size=8))
    (label,) = complete.rglob('top_potsdam_2_11_label_noBoundary.tif')
    trees.put(label, trees.isprs_colours(size=8))
    (label,) = complete.rglob('top_potsdam_3_10_label_noBoundary.tif')
    colours = trees.isprs_colours()
    colours[:, 5, 5] = (255, 0, 255)
    trees.put(label, colours)
    found = wrong(check_archive(Potsdam, complete))
    assert found[0] == 'train: 23 of 24 images'
    assert found[1] == 'train: missing: 2_10'
    assert '2_11_RGB.tif: 8x8 pixels, expected 16x16' in found[2]
    assert '3_10_label_noBoundary.tif: 1 pixels of 1 colours' in found[3]
    assert len(found) == 4
    assert len(wrong(check_archive(Potsdam, complete, headers_only=True))) == 3


def test_a_missing_mask_and_a_damaged_file_are_named(complete):
    next(complete.rglob('top_potsdam_2_10_label_noBoundary.tif')).unlink()
    (path,) = complete.rglob('top_potsdam_2_13_RGB.tif')
    path.write_text('cut off')
    found = wrong(check_archive(Potsdam, complete))
    assert '2_10_RGB.tif: has no mask' in found[0]
    assert '2_13_RGB.tif: not a readable raster' in found[1]


def test_parts_that_are_absent_are_told_but_not_wrong_while_another_is_there(tmp_path):
    trees.chips(tmp_path, ['area1_0_0_512_512'], count=6)
    findings = check_archive(Vaihingen, tmp_path)
    assert [(f.part, f.text) for f in findings if not f.wrong] == [('test', 'is not there')]
    assert wrong(findings)[0] == 'train: 1 of 344 chips'
    empty = tmp_path / 'empty'
    empty.mkdir()
    (only,) = check_archive(LoveDA, empty)
    assert only.wrong
    assert 'holds no images of LoveDA' in only.text


def test_arguments_that_a_class_needs_are_asked_for(tmp_path):
    trees.casid(tmp_path, 'one_based')
    with pytest.raises(ConfigError, match=r'CASID: .*label_encoding'):
        check_archive(CASID, tmp_path)
    found = wrong(check_archive(CASID, tmp_path, options={'label_encoding': 'zero_based'}))
    assert all('not encoded as' in text for text in found)
    found = wrong(check_archive(CASID, tmp_path, options={'label_encoding': 'one_based'}))
    assert 'subms, train: 2 of 196 images' in found


def test_images_without_a_known_number_are_counted(tmp_path):
    trees.put(tmp_path / 'train' / 'P01.jpg', np.zeros((3, 8, 8), np.uint8))
    findings = check_archive(MillionAID, tmp_path)
    assert [(f.part, f.text, f.wrong) for f in findings] == [
        ('train', '1 images', False),
        ('test', 'is not there', False),
    ]


def test_the_command_line_lists_informs_and_checks(complete, capsys):
    assert main(['data', 'list']) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10
    assert main(['data', 'info', 'LoveDA']) == 0
    told = capsys.readouterr().out
    assert 'split=val, domain=urban: 677 images, 677 chips of 1024' in told
    assert 'CC BY-NC-SA 4.0' in told
    assert main(['data', 'check', 'Potsdam', str(complete)]) == 0
    assert '24 of 24 images' in capsys.readouterr().out
    next(complete.rglob('top_potsdam_2_10_RGB.tif')).unlink()
    assert main(['data', 'check', 'Potsdam', str(complete), '--headers-only']) == 2
    shown = capsys.readouterr()
    assert '! train: missing: 2_10' in shown.out
    assert '2 finding(s) to fix' in shown.err


def test_the_command_line_refuses_what_it_does_not_know(tmp_path, capsys):
    assert main(['data', 'info', 'Berlin']) == 2
    assert (
        "no archive is named 'Berlin': expected one of Potsdam, Vaihingen"
        in capsys.readouterr().err
    )
    assert main(['data', 'check', 'Potsdam', str(tmp_path), '--set', 'bands']) == 2
    assert 'expected NAME=VALUE' in capsys.readouterr().err
    assert main(['data', 'check', 'Potsdam', str(tmp_path), '--set', 'colour=red']) == 2
    assert "unexpected keyword argument 'colour'" in capsys.readouterr().err


def test_every_damaged_file_is_named_at_once(tmp_path):
    trees.deepglobe(tmp_path)
    for number in (104, 999):
        (tmp_path / 'train' / f'{number}_sat.jpg').write_bytes(b'')
    found = wrong(check_archive(DeepGlobeRoads, tmp_path))
    assert '104_sat.jpg: not a readable raster' in found[0]
    assert found[0].endswith('1 other cannot be used either: 999_sat.jpg')


def test_masks_that_draw_nothing_are_suspected(tmp_path):
    trees.deepglobe(tmp_path)
    assert not any(
        'no mask holds' in text for text in wrong(check_archive(DeepGlobeRoads, tmp_path))
    )
    for path in tmp_path.rglob('*_mask.png'):
        trees.put(path, trees.classes(2))  # 0 and 1, where the archive has 0 and 255
    found = wrong(check_archive(DeepGlobeRoads, tmp_path))
    assert any('train: no mask holds any road' in text for text in found)


def test_a_file_that_was_cut_short_is_found_although_its_header_is_whole(complete):
    (path,) = complete.rglob('top_potsdam_2_13_RGB.tif')
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 200])
    (found,) = wrong(check_archive(Potsdam, complete))
    assert found.startswith('test: ')
    assert '2_13_RGB.tif: cannot be read to its end' in found
    assert not wrong(check_archive(Potsdam, complete, headers_only=True))


def test_a_jpeg_that_was_cut_short_is_found(tmp_path):
    trees.deepglobe(tmp_path)
    path = tmp_path / 'train' / '104_sat.jpg'
    noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    trees.put(path, noise)
    trees.put(tmp_path / 'train' / '104_mask.png', np.full((3, 64, 64), 255, np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = wrong(check_archive(DeepGlobeRoads, tmp_path))
    assert any('104_sat.jpg: cannot be read to its end' in text for text in found)


def test_it_says_which_of_two_copies_is_read(complete):
    copy = complete / 'zz_backup'
    trees.potsdam(copy, ['2_10', '2_11'])
    texts = [f.text for f in check_archive(Potsdam, complete) if f.part == 'train']
    assert '24 of 24 images' in texts
    (twice,) = [text for text in texts if 'twice' in text]
    assert '4 files are there twice: 2_Ortho_RGB/' in twice  # images and masks
    assert 'zz_backup/' in twice and twice.endswith(' is not')


def test_chips_next_to_the_original_are_told_and_not_read(tmp_path):
    trees.vaihingen(tmp_path, [1])
    trees.chips(tmp_path, ['area1_0_0_512_512'], count=6)
    texts = [finding.text for finding in check_archive(Vaihingen, tmp_path)]
    assert 'there are also chips, which are not read, because original are' in texts


def test_both_archives_of_whu_below_one_root_are_told_apart(tmp_path):
    trees.whu_aerial(tmp_path / 'air')
    trees.whu_satellite(tmp_path / 'space')
    for dataset, name in ((WHUBuildingAerial, 'air'), (WHUBuildingSatellite, 'space')):
        both, alone = dataset(tmp_path), dataset(tmp_path / name)
        assert [s.image for s in both.scenes] == [s.image for s in alone.scenes]
        assert all(scene.image.startswith(f'{tmp_path}/{name}/') for scene in both.scenes)


def test_an_archive_of_ones_own_is_checked_by_its_import_path(tmp_path, capsys, monkeypatch):
    trees.put(tmp_path / 'data' / 'train' / 'a.tif', trees.picture())
    trees.put(tmp_path / 'data' / 'train' / 'a_mask.png', trees.classes(2))
    (tmp_path / 'mine_check.py').write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, 'mine_check', raising=False)
    assert main(['data', 'check', 'mine_check:Fields', 'data']) == 2
    assert '! train: 1 of 2 images' in capsys.readouterr().out
    assert main(['data', 'info', 'mine_check:Fields']) == 0
    assert 'Fields: fields of one farm' in capsys.readouterr().out
    assert main(['data', 'check', 'mine_check:Nothing', 'data']) == 2
    assert "the module mine_check has no 'Nothing'" in capsys.readouterr().err
    assert main(['data', 'check', 'mine_check:FIELDS', 'data']) == 2
    assert 'expected a class that inherits ArchiveDataset' in capsys.readouterr().err
    assert main(['data', 'check', 'no_such_module:Fields', 'data']) == 2
    assert "there is no module 'no_such_module'" in capsys.readouterr().err


def test_an_archive_of_one_part_without_options_is_called_whole(tmp_path, capsys, monkeypatch):
    for name in 'ab':
        trees.put(tmp_path / 'data' / 'train' / f'{name}.tif', trees.picture())
        trees.put(tmp_path / 'data' / 'train' / f'{name}_mask.png', trees.classes(2))
    (tmp_path / 'mine_whole.py').write_text(MINE.replace("{'split': 'train'}", '{}'))
    monkeypatch.chdir(tmp_path)
    main(['data', 'check', 'mine_whole:Fields', 'data', '--headers-only'])
    assert 'whole archive: 2 of 2 images' in capsys.readouterr().out
    assert main(['data', 'info', 'mine_whole:Fields']) == 0
    assert '  whole archive: 2 images' in capsys.readouterr().out


MINE = """
from crossearth.archives import Archive, Part
from crossearth.datasets import ArchiveDataset, Layout
from crossearth.labels import ROAD, IdCodec

FIELDS = Archive(
    name='Fields', title='fields of one farm', gsd_m=0.5, chip_px=16,
    parts=(Part(options={'split': 'train'}, sizes=((16, 16, 2),)),),
    georeferencing='none', licence='own', citation='none', url='none', how_to_get='ask',
)


class Fields(ArchiveDataset):
    archive = FIELDS

    def __init__(self, root, *, split='train'):
        layout = Layout(
            name='original',
            images=rf'{split}/(?P<name>[^/]+)\\.tif',
            masks=rf'{split}/(?P<name>[^/]+)_mask\\.png',
            codec=IdCodec.identity(2),
        )
        super().__init__(root, [layout], labels=ROAD, domain='fields', split=split)
"""


def test_an_option_that_an_archive_does_not_know_is_a_finding(complete, unchecked, capsys):
    assert main(['data', 'check', 'Potsdam', str(complete), '--set', 'bands=rgbi']) == 2
    assert "bands is 'rgbi': expected one of rgb, irrg, rgbir" in capsys.readouterr().out


def test_a_truncated_png_is_a_finding(tmp_path):
    trees.loveda(tmp_path)
    (path,) = tmp_path.rglob('images_png/1366.png')
    noise = np.random.default_rng(0).integers(0, 255, (trees.SIZE, trees.SIZE, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert any(
        f'{path}: cannot be read to its end' in text
        for text in wrong(check_archive(LoveDA, tmp_path))
    )


def test_options_are_values_and_not_only_words(tmp_path, monkeypatch, capsys):
    given = {}
    monkeypatch.setattr(
        'crossearth.datasets.check_archive', lambda *_, options, **__: given.update(options) or []
    )
    words = ['gsd_m=0.5', 'mask_nodata=false', 'split=test', "bands='12'"]
    options = [part for word in words for part in ('--set', word)]
    assert main(['data', 'check', 'MassachusettsRoads', str(tmp_path), *options]) == 0
    assert given == {'gsd_m': 0.5, 'mask_nodata': False, 'split': 'test', 'bands': '12'}
    assert main(['data', 'check', 'MassachusettsRoads', str(tmp_path), '--set', 'a=[1']) == 2
    assert '--set a=[1: the value is not YAML' in capsys.readouterr().err
