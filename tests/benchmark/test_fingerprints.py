"""What makes a difference to a fingerprint, by what classes declare of themselves."""

import os
import sys
import types

import pytest

from crossearth.benchmark import fingerprint, fingerprints

MINE = types.ModuleType('mine_fingerprints')


class Reader:
    """As a class of a user that declares an argument."""

    no_effect = ('num_workers',)


class Undeclared:
    """As a class of a user that declares nothing."""


class Watcher:
    no_effect = 'all'


@pytest.fixture(autouse=True)
def module(monkeypatch):
    for part in (Reader, Undeclared, Watcher):
        setattr(MINE, part.__name__, part)
    monkeypatch.setitem(sys.modules, MINE.__name__, MINE)


def part(name, **arguments):
    return {'class_path': f'{MINE.__name__}.{name}', 'init_args': arguments}


def mark(model, **sections):
    return fingerprint({'seed_everything': 0, 'model': model, **sections})


def test_an_argument_has_no_effect_where_its_class_says_so_and_nowhere_else():
    assert mark(part('Reader', num_workers=1)) == mark(part('Reader', num_workers=2))
    assert mark(part('Undeclared', num_workers=1)) != mark(part('Undeclared', num_workers=2))
    # not at any depth below it either
    inner = [part('Reader', of=part('Undeclared', num_workers=n)) for n in (1, 2)]
    assert mark(inner[0]) != mark(inner[1])
    assert mark(part('Reader', root='a')) != mark(part('Reader', root='b'))


def test_what_only_watches_is_left_out_and_what_is_none_is_not():
    plain = mark(part('Undeclared'), trainer={'max_steps': 3})
    watched = {'max_steps': 3, 'callbacks': [part('Watcher', every=1)]}
    assert mark(part('Undeclared'), trainer=watched) == plain
    acting = {'max_steps': 3, 'callbacks': [part('Undeclared')]}
    assert mark(part('Undeclared'), trainer=acting) != plain
    assert mark(part('Undeclared', nodata=None)) != mark(part('Undeclared'))


def test_the_trainer_of_lightning_has_a_list_by_full_names():
    plain = mark(part('Reader'), trainer={'max_steps': 3})
    assert mark(part('Reader'), trainer={'max_steps': 3, 'accelerator': 'gpu'}) == plain
    assert mark(part('Reader'), trainer={'max_steps': 3, 'precision': 'bf16-mixed'}) != plain
    assert mark(part('Reader', accelerator='gpu')) != mark(part('Reader'))  # of another class


def test_a_file_counts_by_its_content_and_not_by_its_name(tmp_path):
    first, copy, other = (tmp_path / name for name in ('a.st', 'b.st', 'c.st'))
    first.write_bytes(b'weights')
    copy.write_bytes(b'weights')
    other.write_bytes(b'changed')
    marks = [mark(part('Undeclared', style=str(path))) for path in (first, copy, other)]
    assert marks[0] == marks[1] != marks[2]
    first.write_bytes(b'altered')  # as many bytes, under the same name
    os.utime(first, ns=(1, 1))
    assert mark(part('Undeclared', style=str(first))) not in marks
    missing = mark(part('Undeclared', style=str(tmp_path / 'none.st')))
    assert missing == mark(part('Undeclared', style=str(tmp_path / 'none.st')))


def test_a_file_is_read_once_for_as_long_as_it_does_not_change(tmp_path):
    path = tmp_path / 'a.st'
    path.write_bytes(b'weights')
    fingerprints._digest.cache_clear()
    for _ in range(3):
        mark(part('Undeclared', style=str(path)))
    assert fingerprints._digest.cache_info().misses == 1


def test_a_seed_of_a_part_counts_where_only_the_runner_varies_seeds():
    data = {'class_path': 'crossearth.datasets.ShiftDataModule', 'init_args': {'seed': 1}}
    other = {**data, 'init_args': {'seed': 2}}
    assert mark(part('Reader'), data=data) == mark(part('Reader'), data=other)
    assert mark(part('Reader', seed=1)) != mark(part('Reader', seed=2))
