"""Two processes train and score as one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace
from crossearth.models import adapted_fpn, load_model
from crossearth.trainers import shard_frozen

THREE = LabelSpace('three', ('a', 'b', 'c'), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
SCRIPT = Path(__file__).with_name('ranks.py')
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path, write_raster):
    """A function that carries out jobs of `ranks.py`."""
    rng = np.random.default_rng(0)
    for i in range(3):
        ids = rng.integers(0, 3, (1, 10, 11), np.uint8).repeat(5, 1).repeat(5, 2)
        pixels = ids.repeat(3, 0) * 80 + rng.integers(0, 60, (3, 50, 55))
        ids[:, : 17 * i] = 255  # so that windows have unlike numbers of labels
        write_raster(f'images/{i}.tif', pixels.astype(np.uint8))
        write_raster(f'masks/{i}.tif', ids)

    def carry_out(*jobs):
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(tmp_path), json.dumps(jobs)],
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout.splitlines()[-1]) == [0] * len(jobs), done.stderr[-3000:]

    return carry_out


def losses(folder):
    return [json.loads(line) for line in (folder / 'losses.jsonl').read_text().splitlines()]


def end(folder):
    return torch.load(folder / 'end.ckpt', weights_only=True, map_location='cpu')


@pytest.mark.slow
def test_two_processes_score_exactly_and_train_to_rounding_as_one_does(run, tmp_path):
    run(
        {'name': 'one', 'ranks': 1, 'batch': 4},
        {'name': 'two', 'ranks': 2, 'batch': 2},
    )
    one, two = (torch.load(tmp_path / name / 'confusion.pt') for name in ('one', 'two'))
    assert list(one) == list(two) == ['source', 'b']
    for domain, matrix in one.items():
        assert torch.equal(matrix, two[domain])
        assert matrix.sum() == 50 * 55 + 33 * 55 + 16 * 55
    expected, got = losses(tmp_path / 'one'), losses(tmp_path / 'two')
    assert len(expected) == len(got) == 6
    for step, other in zip(expected, got, strict=True):
        assert {'train/loss', 'train/loss_ce', 'train/loss_dice'} <= step.keys()
        assert other == pytest.approx(step, rel=1e-5)
    weights, others = end(tmp_path / 'one')['state_dict'], end(tmp_path / 'two')['state_dict']
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_terms_of_features_and_the_average_of_a_window_are_those_of_one_process(run, tmp_path):
    run(
        {'name': 'one', 'ranks': 1, 'batch': 4, 'features': True},
        {'name': 'two', 'ranks': 2, 'batch': 2, 'features': True},
    )
    expected, got = losses(tmp_path / 'one'), losses(tmp_path / 'two')
    for step, other in zip(expected, got, strict=True):
        assert other == pytest.approx(step, rel=1e-4, abs=1e-6)
    assert expected[-1]['train/loss_fd'] > 1e-3
    weights, others = end(tmp_path / 'one')['state_dict'], end(tmp_path / 'two')['state_dict']
    for name, value in weights.items():
        if name != 'method.seen.images':  # each process counts its own images
            torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_adapters_leave_no_parameter_unused_and_a_gate_chooses_as_one_process_does(run, tmp_path):
    """DDP stops at the second step if a trained parameter took no part in the first."""
    two = {'ranks': 2, 'batch': 2}
    adapters = ('full', 'lora', 'soma', 'rein', 'lora_rein', 'earth')
    run(
        {'name': 'one', 'ranks': 1, 'batch': 4, 'adapter': 'gate'},
        {'name': 'two', 'adapter': 'gate', **two},
        *({'name': name, 'adapter': name, 'steps': 3, **two} for name in adapters),
    )
    assert all(len(losses(tmp_path / name)) == 3 for name in adapters)
    expected, got = losses(tmp_path / 'one'), losses(tmp_path / 'two')
    for step, other in zip(expected, got, strict=True):
        assert other == pytest.approx(step, rel=1e-4, abs=1e-6)
    opened = [
        {
            key
            for key, value in end(tmp_path / name)['state_dict'].items()
            if 'opened' in key and value
        }
        for name in ('one', 'two')
    ]
    assert opened[0] == opened[1]
    assert len(opened[0]) == 4


@pytest.mark.slow
def test_processes_draw_differently_and_resume_bit_for_bit(run, tmp_path):
    options = {'ranks': 2, 'batch': 2, 'style': True}
    run(
        {'name': 'whole', **options},
        {'name': 'part', 'steps': 4, **options},
        {'name': 'resumed', 'resume': 'part', **options},
    )
    whole, resumed = end(tmp_path / 'whole'), end(tmp_path / 'resumed')
    first, second = whole['random_state']['ranks']
    assert not torch.equal(first['torch'], second['torch'])
    assert not torch.equal(first['generators'][0], second['generators'][0])
    for rank in range(2):
        states = [ckpt['random_state']['ranks'][rank] for ckpt in (whole, resumed)]
        assert torch.equal(states[0]['torch'], states[1]['torch'])
        assert torch.equal(states[0]['generators'][0], states[1]['generators'][0])
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, resumed['state_dict'][name]), name
    assert losses(tmp_path / 'resumed') == losses(tmp_path / 'whole')[4:]


@pytest.mark.slow
def test_a_teacher_is_the_same_in_all_processes_and_resumes_bit_for_bit(run, tmp_path):
    options = {'ranks': 2, 'batch': 2, 'adapt': True}
    run(
        {'name': 'whole', **options},
        {'name': 'part', 'steps': 4, **options},
        {'name': 'resumed', 'resume': 'part', **options},
    )
    whole, resumed = end(tmp_path / 'whole')['state_dict'], end(tmp_path / 'resumed')['state_dict']
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    assert losses(tmp_path / 'resumed') == losses(tmp_path / 'whole')[4:]
    scenes = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=THREE)
    data = ShiftDataModule(scenes, size_px=24, windows_per_epoch=12, batch_size=4)
    loader = data.train_dataloader()
    shown = torch.cat([batch['mask'].flatten() for batch in (*loader, *loader)])
    counts = [int((shown == number).sum()) for number in range(3)]  # by all processes
    assert whole['method.class_pixels'].tolist() == counts
    teacher, student = (whole[f'method.{part}.0.weight'] for part in ('teacher', 'model'))
    assert not torch.equal(teacher, student)


@pytest.mark.slow
def test_a_sharded_backbone_trains_resumes_and_saves_as_a_whole_one(run, tmp_path):
    options = {'ranks': 2, 'batch': 2}
    run(
        {'name': 'whole', 'shard': False, **options},
        {'name': 'sharded', 'shard': True, **options},
        {'name': 'part', 'shard': True, 'steps': 3, **options},
        {'name': 'resumed', 'shard': True, 'resume': 'part', **options},
    )
    whole = end(tmp_path / 'whole')
    for name in ('sharded', 'resumed'):
        other = end(tmp_path / name)
        assert other['state_dict'].keys() == whole['state_dict'].keys()
        assert other['frozen_marks'] == pytest.approx(whole['frozen_marks'])
        for key, value in whole['state_dict'].items():
            torch.testing.assert_close(other['state_dict'][key], value, rtol=1e-5, atol=1e-6)
    first, second = (load_model(tmp_path / n / 'model.safetensors') for n in ('whole', 'sharded'))
    for key, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[key], value, rtol=1e-5, atol=1e-6)
    held = [
        [int((tmp_path / name / f'held_{rank}.txt').read_text()) for rank in range(2)]
        for name in ('whole', 'sharded')
    ]
    blocks = sum(p.numel() for p in first.backbone.vit.blocks.parameters() if p.ndim)
    assert sum(held[0]) - sum(held[1]) == pytest.approx(blocks, rel=0.02)


def test_models_without_a_frozen_transformer_have_nothing_to_shard():
    with pytest.raises(ConfigError, match='this model has none'):
        shard_frozen(torch.nn.Conv2d(1, 1, 1), torch.device('cpu'))
    lora = adapted_fpn('test_vit', 'lora', num_classes=2, img_size=32, rank=2, width=8)
    with pytest.raises(
        ConfigError, match='completely frozen transformer, but part of this one trains'
    ):
        shard_frozen(lora, torch.device('cpu'))
