import os

import pytest
import torch

from crossearth.errors import CheckpointError
from crossearth.trainers import check_checkpoint


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_checkpoint_that_would_run_code_is_refused_and_does_not_run(tmp_path):
    path, trace = tmp_path / 'evil.ckpt', tmp_path / 'trace'
    torch.save({'state_dict': {}, 'evil': Payload(str(trace))}, path)
    with pytest.raises(CheckpointError, match=r'evil\.ckpt: not a checkpoint of tensors'):
        check_checkpoint(path)
    assert not trace.exists()


def test_files_that_are_no_checkpoints_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r'none\.ckpt: no such checkpoint'):
        check_checkpoint(tmp_path / 'none.ckpt')
    text = tmp_path / 'text.ckpt'
    text.write_text('not a checkpoint')
    with pytest.raises(CheckpointError, match=r'text\.ckpt: damaged or no checkpoint'):
        check_checkpoint(text)
    whole = tmp_path / 'whole.ckpt'
    torch.save({'state_dict': {'weight': torch.zeros(100)}}, whole)
    check_checkpoint(whole)
    whole.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(CheckpointError, match=r'whole\.ckpt: damaged'):
        check_checkpoint(whole)
    torch.save({'weight': torch.zeros(1)}, whole)
    with pytest.raises(CheckpointError, match='holds no training state'):
        check_checkpoint(whole)
