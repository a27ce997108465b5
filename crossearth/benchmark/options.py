"""Where and how runs of the benchmark are made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from crossearth.benchmark.evaluation import Protocol
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
        save_predictions: Folder for label maps; None for none.
        progress: Whether to show bars.
        say: Where lines about the progress go.
    """

    output: Path
    device: str = 'auto'
    batch_size: int = 1
    num_workers: int = 4
    checkpoint_every: int = 1000
    oracle_every: int | None = None
    flip: bool = False
    whole: bool = False
    save_predictions: Path | None = None
    progress: bool = False
    say: Callable[[str], None] = _quiet

    def __post_init__(self) -> None:
        if min(self.batch_size, self.checkpoint_every, self.oracle_every or 1) < 1:
            raise ConfigError(
                f'batch_size={self.batch_size}, checkpoint_every={self.checkpoint_every}, '
                f'oracle_every={self.oracle_every}: expected at least 1'
            )

    def protocol(self, setting: Setting) -> Protocol:
        """How a setting is scored."""
        return Protocol.of(setting, whole=self.whole, flip=self.flip)

    @property
    def torch_device(self) -> torch.device:
        """The device by its name."""
        if self.device != 'auto':
            return torch.device(self.device)
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
