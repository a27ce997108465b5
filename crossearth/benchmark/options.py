"""Where and how runs of the benchmark are made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from crossearth.benchmark.evaluation import Half, Protocol
from crossearth.benchmark.settings import Setting
from crossearth.errors import ConfigError

__all__ = ['RunOptions']


def _quiet(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and how runs are made; what is learnt does not depend on it.

    Args:
        output: Folder of trainings and results.
        device: `'auto'`, `'cpu'`, `'cuda'`, …
        batch_size: Windows at a time when scoring.
        num_workers: Reading processes.
        checkpoint_every: Steps from one checkpoint to the next: what a kill costs at most.
        oracle_every: Steps from one candidate to the next, to also report the checkpoint that is
            best on the unseen domain; None for the last model alone.
        flip: See `Protocol`.
        whole: See `Protocol.of`.
        autocast: See `Protocol`; for scoring alone, a recipe says what a training computes in.
        save_predictions: Folder for label maps; None for none.
        progress: Whether to show bars.
        say: Where lines about the progress go.

    Raises:
        ConfigError: If a number is out of range, or there is no such device.
    """

    output: Path
    device: str = 'auto'
    batch_size: int = 1
    num_workers: int = 4
    checkpoint_every: int = 1000
    oracle_every: int | None = None
    flip: bool = False
    whole: bool = False
    autocast: Half | None = None
    save_predictions: Path | None = None
    progress: bool = False
    say: Callable[[str], None] = _quiet

    def __post_init__(self) -> None:
        if min(self.batch_size, self.checkpoint_every, self.oracle_every or 1) < 1:
            raise ConfigError(
                f'batch_size={self.batch_size}, checkpoint_every={self.checkpoint_every}, '
                f'oracle_every={self.oracle_every}: expected at least 1'
            )
        if self.num_workers < 0:
            raise ConfigError(f'num_workers={self.num_workers}: expected at least 0')
        try:
            device = self.torch_device
        except RuntimeError as error:
            raise ConfigError(
                f'{self.device!r} is no device: expected auto, cpu, cuda or cuda:0'
            ) from error
        if device.type == 'cuda' and not torch.cuda.is_available():
            raise ConfigError(f'{self.device}: no such device is at hand; expected cpu or auto')

    def protocol(self, setting: Setting) -> Protocol:
        """How a setting is scored."""
        return Protocol.of(setting, whole=self.whole, flip=self.flip, autocast=self.autocast)

    @property
    def torch_device(self) -> torch.device:
        """The device by its name."""
        if self.device != 'auto':
            return torch.device(self.device)
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
