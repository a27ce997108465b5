"""Settings and archives that a user brings."""

import sys

import pytest

from crossearth.benchmark import Files, read_settings, training_recipe
from crossearth.benchmark.cases import case_of, open_dataset
from crossearth.benchmark.recipes import Variation
from crossearth.benchmark.runs import find_settings, plan_runs
from crossearth.errors import ConfigError
from tests.datasets import archive_trees as trees

MODULE = r"""
from crossearth.archives import Archive, Part
from crossearth.datasets import ArchiveDataset, Layout
from crossearth.labels import ROAD, IdCodec

CLASSES = ROAD
ARCHIVE = Archive(
    name='Tracks', title='tracks', gsd_m=0.5, chip_px=16,
    parts=tuple(Part(options={'split': s}, sizes=((16, 16, 1),)) for s in ('train', 'test')),
    georeferencing='none', licence='own', citation='none', url='none', how_to_get='ask',
)


class Tracks(ArchiveDataset):
    archive = ARCHIVE

    def __init__(self, root: str, *, split: str = 'train') -> None:
        layout = Layout(
            name='original',
            images=rf'{split}/(?P<name>[^/]+)\.tif',
            masks=rf'{split}/(?P<name>[^/]+)_mask\.png',
            codec=IdCodec.identity(2),
        )
        super().__init__(root, [layout], labels=CLASSES, domain='tracks', split=split)
"""

SETTINGS_FILE = """
[[domain]]
name = 'tracks'
dataset = 'mine_settings:Tracks'
labels = 'mine_settings:CLASSES'
folder = 'farm'

[[setting]]
name = 'D2Tracks'
source = 'deepglobe_road'
target = 'tracks'
chip_px = 16
styled = {tau = 0.1, patch_px = 32}
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    for split in ('train', 'test'):
        trees.put(tmp_path / 'farm' / split / 'a.tif', trees.picture())
        trees.put(tmp_path / 'farm' / split / 'a_mask.png', trees.classes(2))
    (tmp_path / 'mine_settings.py').write_text(MODULE)
    path = tmp_path / 'mine.toml'
    path.write_text(SETTINGS_FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, 'mine_settings', raising=False)
    return path


def test_a_setting_of_ones_own_is_scored_and_trained_like_a_published_one(file, tmp_path):
    (setting,) = read_settings(file).values()
    assert (setting.source.name, setting.target.name, setting.n_test) == (
        'deepglobe_road', 'tracks', 1,
    )  # fmt: skip
    assert setting.metric == 'foreground IoU'
    case = case_of(setting, Files(data=tmp_path))
    assert case.test['class_path'] == 'mine_settings.Tracks'
    opened = open_dataset(case.test)
    assert opened.coverage.complete
    assert opened.root == tmp_path / 'farm'
    assert (case.protocol.window_px, case.protocol.chip_px) == (16, 16)
    (run,) = plan_runs([setting], Files(data=tmp_path), ['crossearth'], [3], Variation(), None)
    style = run.recipe['model']['init_args']['method']['init_args']['style']['init_args']
    assert (style['ratio'], style['patch_size']) == (0.1, 32)
    assert run.recipe['data']['init_args']['size_px'] == 16
    assert run.recipe['data']['init_args']['seed'] == 3


def test_own_and_published_settings_are_found_together(file):
    (own,) = read_settings(file).values()
    assert [setting.name for setting in find_settings([own, 'D2M', own])] == ['D2Tracks', 'D2M']
    with pytest.raises(ConfigError, match='no setting is named D2X'):
        find_settings([own, 'D2X'])


def test_the_published_recipe_of_a_source_is_untouched_by_own_settings(file):
    (own,) = read_settings(file).values()
    assert training_recipe('deepglobe_road') != training_recipe('deepglobe_road', settings=[own])


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ("'deepglobe_road'", "'nowhere'", "its source 'nowhere' is not a domain"),
        ("'deepglobe_road'", "'whu_aerial'", 'read both with one label space'),
        ("'D2Tracks'", "'D2M'", "'D2M' is a published one"),
        ('chip_px = 16', 'chips = 16', 'D2Tracks has unknown keys chips'),
        ('chip_px = 16', '', "a table lacks 'chip_px'"),
        (':Tracks', ':CLASSES', 'expected a class that inherits ArchiveDataset'),
        (':CLASSES', ':Tracks', 'expected a LabelSpace'),
        (':Tracks', ':Nothing', "the module mine_settings has no 'Nothing'"),
        ('mine_settings:T', 'no_such_module:T', "there is no module 'no_such_module'"),
        ('mine_settings:T', 'T', 'expected module:name'),
        ('[[setting]]', '[setting', 'is not TOML'),
        ('[[setting]]', '[[other]]', r"holds \['domain', 'other'\]: expected \[\[setting\]\]"),
    ],
)
def test_what_a_file_of_settings_has_wrong_is_named(file, old, new, message):
    file.write_text(SETTINGS_FILE.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_settings(file)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r'none\.toml does not exist'):
        read_settings(tmp_path / 'none.toml')


def test_own_settings_of_one_source_are_trained_as_each_says(file, tmp_path):
    second = SETTINGS_FILE[SETTINGS_FILE.index('[[setting]]') :]
    second = second.replace("'D2Tracks'", "'D2Coarse'").replace('tau = 0.1', 'tau = 0.9')
    third = second.replace("'D2Coarse'", "'D2Same'")
    file.write_text(SETTINGS_FILE + second + third)
    wanted = [*read_settings(file).values(), *find_settings(['D2M'])]
    runs = plan_runs(wanted, Files(data=tmp_path), ['crossearth'], [0], Variation(), None)
    learnt = {}
    for run in runs:
        style = run.recipe['model']['init_args']['method']['init_args']['style']['init_args']
        size_px = run.recipe['data']['init_args']['size_px']
        learnt[tuple(case.name for case in run.cases)] = (style['ratio'], size_px)
    alone = plan_runs(wanted[-1:], Files(data=tmp_path), ['crossearth'], [0], Variation(), None)
    assert learnt == {
        ('D2Tracks',): (0.1, 16),
        ('D2Coarse', 'D2Same'): (0.9, 16),
        ('D2M',): (0.3, 1024),
    }
    assert runs[-1].fingerprint == alone[0].fingerprint
