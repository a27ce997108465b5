"""A training that is killed and resumed is the training that was never interrupted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = Path(__file__).with_name('killed.py')
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path, write_raster):
    """A function that carries out jobs of `killed.py` and returns their exit codes."""
    rng = np.random.default_rng(0)
    for i in range(2):
        blocks = rng.integers(0, 6, (1, 12, 12), np.uint8).repeat(8, 1).repeat(8, 2)
        noise = rng.integers(0, 60, (3, 96, 96))
        write_raster(f'images/{i}.tif', (blocks * 30 + noise).astype(np.uint8))
        write_raster(f'masks/{i}.tif', blocks)

    def carry_out(*jobs):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(tmp_path), json.dumps(jobs)],
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        codes = json.loads(done.stdout.splitlines()[-1])
        return codes, done.stderr

    return carry_out


def losses(folder):
    rows = [json.loads(line) for line in (folder / 'losses.jsonl').read_text().splitlines()]
    return {tuple(row['at']): row for row in rows}


def differences(one, other, path=''):
    """Where two checkpoints differ."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, other) else [path]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f'{path}: {sorted(map(str, one.keys() ^ other.keys()))}']
        return [d for key in one for d in differences(one[key], other[key], f'{path}/{key}')]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [path]
        pairs = enumerate(zip(one, other, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f'{path}/{i}')]
    return [] if one == other else [f'{path}: {one} {other}']


def assert_same_end(folder, name, whole='whole'):
    parts = ('state_dict', 'online_weights', 'optimizer_states', 'lr_schedulers', 'random_state')
    ends = [
        torch.load(folder / run / 'end.ckpt', weights_only=True, map_location='cpu')
        for run in (whole, name)
    ]
    for part in parts:
        assert differences(ends[0][part], ends[1][part]) == [], (name, part)
    assert ends[0]['global_step'] == ends[1]['global_step']
    assert ends[0]['epoch'] == ends[1]['epoch']
    expected, got = losses(folder / whole), losses(folder / name)
    assert got
    assert got == {at: expected[at] for at in got}
    assert max(got) == max(expected)


def jobs(name, *, every, kill, **options):
    return (
        {'name': f'{name}_killed', 'every': every, 'kill': kill, **options},
        {'name': name, 'every': every, 'resume': f'{name}_killed', **options},
    )


@pytest.mark.slow
def test_a_killed_training_resumes_bit_for_bit(run, tmp_path):
    codes, errors = run(
        {'name': 'whole'},
        *jobs('middle', every=3, kill=4),  # resumes in the middle of the first epoch
        *jobs('border', every=5, kill=7),  # at the end of an epoch
    )
    assert codes == [0, *([-signal.SIGKILL, 0] * 2)], errors[-3000:]
    for name in ('middle', 'border'):
        assert_same_end(tmp_path, name)
    assert min(losses(tmp_path / 'middle')) == (0, 3, 4)  # epoch, batch, steps made
    assert min(losses(tmp_path / 'border')) == (1, 0, 6)


@pytest.mark.slow  # four processes that train
def test_epochs_are_counted_where_each_kill_falls_on_a_border(run, tmp_path):
    codes, errors = run(
        {'name': 'whole'},
        {'name': 'once', 'every': 5, 'kill': 7},
        {'name': 'twice', 'every': 5, 'kill': 11, 'resume': 'once'},
        {'name': 'borders', 'every': 5, 'resume': 'twice'},
    )
    assert codes == [0, -signal.SIGKILL, -signal.SIGKILL, 0], errors[-3000:]
    assert min(losses(tmp_path / 'twice')) == (1, 0, 6)
    assert min(losses(tmp_path / 'borders')) == (2, 0, 11)
    assert_same_end(tmp_path, 'borders')


@pytest.mark.slow
def test_reading_processes_and_other_steps_change_nothing(run, tmp_path):
    codes, errors = run(
        {'name': 'whole'},
        *jobs('late', every=1, kill=8),  # in the middle of the second epoch
        *jobs('workers', every=3, kill=8, workers=2),
    )
    assert codes == [0, *([-signal.SIGKILL, 0] * 2)], errors[-3000:]
    for name in ('late', 'workers'):
        assert_same_end(tmp_path, name)
    assert min(losses(tmp_path / 'workers')) == (1, 1, 7)


@pytest.mark.slow
def test_accumulated_gradients_and_counted_epochs_resume_bit_for_bit(run, tmp_path):
    pairs = {'accumulate': 2, 'steps': 8}
    codes, errors = run(
        {'name': 'pairs', **pairs},
        *jobs('pair', every=1, kill=5, **pairs),
        {'name': 'epochs', 'epochs': 3},
        *jobs('epoch_middle', every=4, kill=9, epochs=3),
        *jobs('epoch_border', every=5, kill=11, epochs=3),
    )
    assert codes == [0, -signal.SIGKILL, 0, 0, *([-signal.SIGKILL, 0] * 2)], errors[-3000:]
    assert_same_end(tmp_path, 'pair', 'pairs')
    assert_same_end(tmp_path, 'epoch_middle', 'epochs')
    assert_same_end(tmp_path, 'epoch_border', 'epochs')


@pytest.mark.slow
def test_ten_kills_at_random_moments_change_nothing(run, tmp_path):
    rng = np.random.default_rng(7)
    kills = [
        # within the third of its steps at the latest, or while that is written to the disk
        {'anywhere': (int(rng.integers(1, 4)), float(rng.uniform(0, 0.3)))}
        for _ in range(10)
    ]
    sessions = [{'name': 'often', 'every': 1, 'resume': 'often', 'steps': 30, **k} for k in kills]
    last = {'name': 'often', 'every': 1, 'resume': 'often', 'steps': 30}
    codes, errors = run({'name': 'whole', 'steps': 30}, *sessions, last)
    assert codes == [0, *[-signal.SIGKILL] * 10, 0], errors[-3000:]
    lines = (tmp_path / 'often' / 'losses.jsonl').read_text().splitlines()
    assert len(lines) > 30  # steps were made again
    expected = losses(tmp_path / 'whole')
    assert all(row == expected[tuple(row['at'])] for row in map(json.loads, lines))
    assert_same_end(tmp_path, 'often')
    names = {path.name for path in (tmp_path / 'often').glob('*.ckpt')}
    assert names == {'last.ckpt', 'last.previous.ckpt', 'end.ckpt'}
