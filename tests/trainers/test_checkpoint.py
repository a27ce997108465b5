import os
import zipfile

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn
from torch.utils.data import DataLoader

from crossearth.errors import CheckpointError, DamagedCheckpointWarning
from crossearth.trainers import (
    SealCheckpoints,
    check_checkpoint,
    intact_checkpoint,
    previous_checkpoint,
    seal_checkpoint,
)
from crossearth.trainers.checkpoint import SealedFiles


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    path, trace = tmp_path / 'evil.ckpt', tmp_path / 'trace'
    torch.save({'state_dict': {}, 'evil': Payload(str(trace))}, path)
    with pytest.raises(CheckpointError, match=r'evil\.ckpt is not a checkpoint of only tensors'):
        check_checkpoint(path)
    assert not trace.exists()


def test_files_that_are_no_checkpoints_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'none\.ckpt does not exist'):
        check_checkpoint(tmp_path / 'none.ckpt')
    text = tmp_path / 'text.ckpt'
    text.write_text('not a checkpoint')
    with pytest.raises(CheckpointError, match=r'text\.ckpt is damaged or not a checkpoint'):
        check_checkpoint(text)
    whole = tmp_path / 'whole.ckpt'
    torch.save({'state_dict': {'weight': torch.zeros(100)}}, whole)
    check_checkpoint(whole)
    whole.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(CheckpointError, match=r'whole\.ckpt is damaged'):
        check_checkpoint(whole)
    torch.save({'weight': torch.zeros(1)}, whole)
    with pytest.raises(CheckpointError, match='holds no training state'):
        check_checkpoint(whole)


@pytest.fixture
def sealed(tmp_path):
    """A function that writes a sealed checkpoint of some value."""

    def write(name='last.ckpt', value=0.0):
        path = tmp_path / name
        torch.save({'state_dict': {'w': torch.full((40, 9), value)}, 'epoch': 3}, path)
        seal_checkpoint(path)
        return path

    return write


def flip(path, place, bit=0):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def test_a_sealed_checkpoint_is_whole_and_opens_as_before(sealed):
    path = sealed(value=2.0)
    check_checkpoint(path)
    size = path.stat().st_size
    seal_checkpoint(path)  # nothing more to do
    assert path.stat().st_size == size
    for mmap in (False, True):
        content = torch.load(path, weights_only=True, mmap=mmap)
        assert torch.equal(content['state_dict']['w'], torch.full((40, 9), 2.0))
    assert zipfile.ZipFile(path).testzip() is None


def test_one_flipped_bit_anywhere_is_noticed(sealed):
    path = sealed()
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    ends = [*range(120), *range(len(whole) - 200, len(whole))]  # where the formats keep their marks
    for place in [*ends, *rng.integers(0, len(whole), 300).tolist()]:
        flip(path, place, int(rng.integers(8)))
        with pytest.raises(CheckpointError, match=r'last\.ckpt is damaged'):
            check_checkpoint(path)
        path.write_bytes(whole)
    check_checkpoint(path)


def test_a_cut_or_longer_file_is_noticed(sealed):
    path = sealed()
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:-82], whole[: len(whole) // 2], whole + b'0', b''):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r'last\.ckpt is damaged'):
            check_checkpoint(path)


def test_checkpoints_without_a_seal_are_taken_and_files_that_are_none_are_not_sealed(tmp_path):
    path = tmp_path / 'plain.ckpt'
    torch.save({'state_dict': {}}, path)
    check_checkpoint(path)
    text = tmp_path / 'text.ckpt'
    text.write_text('x' * 500)
    with pytest.raises(CheckpointError, match='damaged or not a checkpoint'):
        seal_checkpoint(text)
    assert text.read_text() == 'x' * 500


def test_a_damaged_checkpoint_is_replaced_by_the_one_before_with_a_message(sealed):
    path, before = sealed(), sealed('last.previous.ckpt')
    assert before == previous_checkpoint(path)
    assert intact_checkpoint(path) == path
    flip(path, 700)
    message = (
        r'last\.ckpt is damaged, .* resumes from .*last\.previous\.ckpt, the checkpoint before'
    )
    with pytest.warns(DamagedCheckpointWarning, match=message):
        assert intact_checkpoint(path) == before
    path.unlink()
    with pytest.warns(
        DamagedCheckpointWarning, match='does not exist: check the path of the checkpoint'
    ):
        assert intact_checkpoint(path) == before
    sealed()
    flip(path, 700)
    flip(before, 700)
    both = r'last\.ckpt is damaged, .*fails, too: .*last\.previous\.ckpt is damaged'
    with pytest.raises(CheckpointError, match=both):
        intact_checkpoint(path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def value_of(path):
    return float(torch.load(path, weights_only=True)['state_dict']['w'])


def state(value):
    return {'state_dict': {'w': torch.tensor(value)}}


def test_the_last_two_checkpoints_are_kept_and_nothing_else_lies_around(tmp_path):
    path = tmp_path / 'run' / 'last.ckpt'
    files = SealedFiles(TorchCheckpointIO(), resuming=True)
    for value in (1.0, 2.0, 3.0):
        files.save_checkpoint(state(value), path)
    assert value_of(path) == 3
    assert value_of(previous_checkpoint(path)) == 2
    assert names(path.parent) == ['last.ckpt', 'last.previous.ckpt']
    assert float(files.load_checkpoint(path, weights_only=True)['state_dict']['w']) == 3
    files.remove_checkpoint(path)
    assert names(path.parent) == []


def test_a_damaged_checkpoint_never_takes_the_place_of_a_whole_one(tmp_path):
    path = tmp_path / 'last.ckpt'
    files = SealedFiles(TorchCheckpointIO(), resuming=True)
    for value in (1.0, 2.0):
        files.save_checkpoint(state(value), path)
    flip(path, 300)
    resumed = SealedFiles(TorchCheckpointIO(), resuming=True)  # another process
    with pytest.warns(DamagedCheckpointWarning):
        assert float(resumed.load_checkpoint(path, weights_only=True)['state_dict']['w']) == 1
    resumed.save_checkpoint(state(3.0), path)
    assert value_of(path) == 3
    assert value_of(previous_checkpoint(path)) == 1


def test_scores_are_never_those_of_an_older_checkpoint(tmp_path):
    path = tmp_path / 'last.ckpt'
    files = SealedFiles(TorchCheckpointIO(), resuming=False)
    for value in (1.0, 2.0):
        files.save_checkpoint(state(value), path)
    flip(path, 300)
    with pytest.raises(CheckpointError, match=r'last\.ckpt is damaged'):
        files.load_checkpoint(path, weights_only=True)


def test_a_write_that_fails_leaves_the_checkpoint_as_it_was(tmp_path):
    class Full(TorchCheckpointIO):
        def save_checkpoint(self, checkpoint, path, storage_options=None):  # noqa: ARG002 -- lightning's signature
            path.write_bytes(b'half')
            raise OSError('No space left on device')

    path = tmp_path / 'last.ckpt'
    SealedFiles(TorchCheckpointIO(), resuming=True).save_checkpoint(state(1.0), path)
    with pytest.raises(OSError, match='No space'):
        SealedFiles(Full(), resuming=True).save_checkpoint(state(2.0), path)
    assert value_of(path) == 1
    assert names(tmp_path) == ['last.ckpt']


class Line(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):  # noqa: ARG002 -- lightning's signature
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def run(folder, steps, **options):
    trainer = pl.Trainer(
        accelerator='cpu',
        max_steps=steps,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[
            SealCheckpoints(),
            pl.callbacks.ModelCheckpoint(
                folder, filename='last', every_n_train_steps=1, enable_version_counter=False
            ),
        ],
    )
    trainer.fit(Line(), DataLoader(torch.rand(8, 1)), weights_only=True, **options)
    return trainer


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short runs, and ours, seen below
def test_a_trainer_seals_its_checkpoints_and_resumes_from_the_one_before(tmp_path):
    run(tmp_path, 3)
    path = tmp_path / 'last.ckpt'
    check_checkpoint(path)
    assert zipfile.ZipFile(path).comment.startswith(b'crossearth sha256 ')
    steps = [
        torch.load(file, weights_only=True)['global_step']
        for file in (previous_checkpoint(path), path)
    ]
    assert steps == [2, 3]
    flip(path, path.stat().st_size // 2)
    with pytest.warns(DamagedCheckpointWarning, match='resumes from'):
        trainer = run(tmp_path, 4, ckpt_path=path)
    assert trainer.global_step == 4
    check_checkpoint(path)
    assert torch.load(path, weights_only=True)['global_step'] == 4
