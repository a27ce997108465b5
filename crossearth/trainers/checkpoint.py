"""Checkpoints of lightning, looked at before they are trusted."""

import os
import pickle
from pathlib import Path
from zipfile import is_zipfile

import torch

from crossearth.errors import CheckpointError

__all__ = ['check_checkpoint']


def check_checkpoint(path: str | os.PathLike[str]) -> None:
    """Make sure that a file is a checkpoint of lightning that holds tensors and numbers alone.

    Args:
        path: The file.

    Raises:
        CheckpointError: If there is no such file, it is damaged or of another format, or it holds
            objects, which could run code when they are loaded.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f'{file}: no such checkpoint; check the path')
    if not is_zipfile(file):
        raise CheckpointError(
            f'{file}: damaged or no checkpoint; expected a .ckpt file written by crossearth fit'
        )
    try:
        content = torch.load(file, map_location='cpu', weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f'{file}: not a checkpoint of tensors and numbers alone ({reason}); expected a .ckpt '
            'file written by crossearth fit'
        ) from error
    if not isinstance(content, dict) or 'state_dict' not in content:
        raise CheckpointError(
            f'{file}: holds no training state; expected a .ckpt file written by crossearth fit'
        )
