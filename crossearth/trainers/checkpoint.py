"""Checkpoints of training: written completely, sealed with a digest, and checked before use.

A checkpoint is a zip file, as torch writes it. Its SHA-256 is in the comment at the end of the zip
file. A checkpoint thus remains one file, can be copied and renamed, and can be opened like any
other. The file that a checkpoint overwrites stays next to it as `last.previous.ckpt`, to resume
from if the newer one is damaged.
"""

import hashlib
import os
import pickle
import shutil
import struct
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from crossearth.describing import Described
from crossearth.errors import CheckpointError, DamagedCheckpointWarning

__all__ = [
    'SealCheckpoints',
    'SealedFiles',
    'check_checkpoint',
    'intact_checkpoint',
    'previous_checkpoint',
    'seal_checkpoint',
]

_MARK = b'crossearth sha256 '
_DIGITS = 64
_SEAL = len(_MARK) + _DIGITS
_LONGEST_COMMENT = 65535
_BEGIN = b'PK\x03\x04'
# the record at the end of a zip file, of 22 bytes; the last two are the length of a comment
_END = b'PK\x05\x06'
_END_SIZE = 22
_CHUNK = 1 << 22

type _Path = str | os.PathLike[str]


def seal_checkpoint(path: _Path) -> None:
    """Write the digest of a checkpoint into it, unless it has one.

    The file is changed in place: seal it before it gets its final name.

    Args:
        path: A zip file that `torch.save` has written.

    Raises:
        CheckpointError: If it does not end like a zip file.
    """
    file = Path(path)
    end, comment = _ending(file)
    if comment:
        _check_digest(file, comment)
        return
    # The length of the comment and the mark come first, because the digest covers them, too.
    with file.open('r+b') as opened:
        opened.seek(end + _END_SIZE - 2)
        opened.write(struct.pack('<H', _SEAL))
        opened.seek(0, os.SEEK_END)
        opened.write(_MARK)
        opened.flush()
        opened.write(_digest(file, end + _END_SIZE + len(_MARK)))
        opened.flush()
        # A rename may reach the disk before the content does.
        os.fsync(opened.fileno())


def check_checkpoint(path: _Path) -> None:
    """Raise if a file is not a complete checkpoint of only tensors and numbers.

    One changed byte anywhere in a sealed file is noticed. Checkpoints that were written without
    this library have no digest; for these only the structure is checked.

    Args:
        path: The file.

    Raises:
        CheckpointError: If there is no such file, it is damaged or has another format, or it holds
            objects, which could run code when they are loaded.
    """
    file = Path(path)
    if not file.is_file():
        raise CheckpointError(f'{file} does not exist: check the path of the checkpoint')
    _, comment = _ending(file)
    if comment:
        _check_digest(file, comment)
    try:
        # weights_only runs no code of the file, and mmap leaves the tensors on the disk.
        content = torch.load(file, map_location='cpu', weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, KeyError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f'{file} is not a checkpoint of only tensors and numbers ({reason}): expected a .ckpt '
            'file written by crossearth fit'
        ) from error
    if not isinstance(content, dict) or 'state_dict' not in content:
        raise CheckpointError(
            f'{file} holds no training state: expected a .ckpt file written by crossearth fit'
        )


def previous_checkpoint(path: _Path) -> Path:
    """The path that keeps the checkpoint that this one has overwritten.

    Example:
        >>> previous_checkpoint('run/last.ckpt').as_posix()
        'run/last.previous.ckpt'
    """
    file = Path(path)
    return file.with_name(f'{file.stem}.previous{file.suffix}')


def intact_checkpoint(path: _Path) -> Path:
    """A checkpoint to resume from: this one, or the one before it if this is damaged or missing.

    Emits a `DamagedCheckpointWarning` if it is the one before.

    Args:
        path: The file.

    Raises:
        CheckpointError: If neither is complete; the message says what is wrong with the first.
    """
    file, before = Path(path), previous_checkpoint(path)
    try:
        check_checkpoint(file)
    except CheckpointError as error:
        try:
            check_checkpoint(before)
        except CheckpointError as other:
            if before.is_file():
                raise CheckpointError(f'{error}. The previous one fails, too: {other}') from error
            raise error from None
        warnings.warn(
            f'{error}. Training resumes from {before}, the checkpoint before it',
            DamagedCheckpointWarning,
            stacklevel=2,
        )
        return before
    return file


class SealedFiles(CheckpointIO):
    """Reads and writes checkpoints as another `CheckpointIO` does, sealed and checked.

    A file appears under its final name only when complete, and the file that it replaces is kept,
    see `previous_checkpoint`. Paths other than local files are left to `inner`.

    Args:
        inner: Reads and writes the files.
        resuming: Whether a damaged checkpoint is replaced by the one before it. Otherwise it is an
            error, because scores of an older checkpoint would be those of another model.
    """

    def __init__(self, inner: CheckpointIO, *, resuming: bool) -> None:
        self.inner = inner
        self.resuming = resuming
        self._whole: set[Path] = set()  # complete files, written by this process

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint to a temporary file, seal it, and move it to its final name."""
        if not _is_local(path):
            self.inner.save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        # In the same folder, because replacing is atomic only within one file system.
        beside = file.with_name(f'.{file.name}.part')
        try:
            self.inner.save_checkpoint(checkpoint, beside, storage_options)
            seal_checkpoint(beside)
            # A check reads the whole file, so those that this process wrote are trusted.
            if file.is_file() and (file in self._whole or _intact(file)):
                _keep(file)  # a damaged one never replaces a complete one
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
        self._whole.add(file)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a complete checkpoint.

        Raises:
            CheckpointError: If it is damaged, and none before it may be used.
        """
        if _is_local(path):
            if self.resuming:
                path = intact_checkpoint(path)
            else:
                check_checkpoint(path)
        return self.inner.load_checkpoint(path, *args, **kwargs)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, and the one before it."""
        self.inner.remove_checkpoint(path)
        if _is_local(path):
            previous_checkpoint(path).unlink(missing_ok=True)

    def teardown(self) -> None:
        """Let `inner` clean up."""
        self.inner.teardown()


class SealCheckpoints(Described, pl.Callback):
    """Seals the checkpoints of a trainer and checks those that it reads, see `SealedFiles`.

    `TrainingTask` adds it, so it works from Python and from the command line.
    Checkpoints of lightning's `AsyncCheckpointIO` are neither sealed nor checked.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:  # noqa: ARG002  # lightning's signature
        """Put the seal between the trainer and its files."""
        files = trainer.strategy.checkpoint_io
        if isinstance(files, AsyncCheckpointIO):
            return  # it returns before there is a file to seal
        inner = files.inner if isinstance(files, SealedFiles) else files
        trainer.strategy.checkpoint_io = SealedFiles(inner, resuming=stage == 'fit')


def _ending(file: Path) -> tuple[int, bytes]:
    """The start of the last record of a zip file, and all bytes from there.

    Raises:
        CheckpointError: If there is none.
    """
    size = file.stat().st_size
    with file.open('rb') as opened:
        start = max(size - _END_SIZE - _LONGEST_COMMENT, 0)
        opened.seek(start)
        tail = opened.read()
        opened.seek(0)
        head = opened.read(4)
    # A seal has a fixed length; without one the record is the last thing in the file. A search for
    # the record's mark elsewhere would find it in the bytes of a tensor.
    for length in (_SEAL, 0):
        at = len(tail) - _END_SIZE - length
        told = struct.pack('<H', length)
        record = tail[max(at, 0) :][:_END_SIZE]
        if head == _BEGIN and record.startswith(_END) and record.endswith(told):
            return start + at, tail[at + _END_SIZE :]
    raise CheckpointError(
        f'{file} is damaged or not a checkpoint: expected a .ckpt file written by crossearth fit'
    )


def _check_digest(file: Path, comment: bytes) -> None:
    if comment != _MARK + _digest(file, file.stat().st_size - _DIGITS):
        raise CheckpointError(
            f'{file} is damaged, because its digest (SHA-256) does not match its content: fetch it '
            f'again, or resume from an earlier checkpoint, such as {previous_checkpoint(file).name}'
        )


def _digest(file: Path, size: int) -> bytes:
    """SHA-256 of the first bytes of a file, as hexadecimal digits."""
    found = hashlib.sha256()
    with file.open('rb') as opened:
        while size > 0:
            chunk = opened.read(min(size, _CHUNK))
            if not chunk:
                break
            found.update(chunk)
            size -= len(chunk)
    return found.hexdigest().encode()


def _intact(file: Path) -> bool:
    try:
        check_checkpoint(file)
    except CheckpointError:
        return False
    return True


def _keep(file: Path) -> None:
    """Keep a checkpoint that is about to be overwritten, without ever leaving its name empty."""
    beside = file.with_name(f'.{file.name}.previous')
    beside.unlink(missing_ok=True)
    try:
        beside.hardlink_to(file)
    except OSError:  # some file systems have no hard links
        shutil.copy2(file, beside)
    beside.replace(previous_checkpoint(file))


def _is_local(path: _Path) -> bool:
    return '://' not in os.fspath(path)
