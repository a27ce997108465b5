"""Options for where and how benchmark runs are made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from crossearth.benchmark.protocol import Half, Protocol, SeenAt
from crossearth.errors import ConfigError

__all__ = ['RunOptions']


def _quiet(line: str) -> None:
    """Ignore a line."""


# many arguments: each is a command-line option that a recipe cannot hold.
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and how runs are made. What is learnt does not depend on it.

    Values that are None are taken from the recipe of a run.

    Args:
        output: Folder of training runs and results.
        device: `'auto'`, `'cpu'`, `'cuda'`, …; None for the accelerator of the recipe.
        batch_size: Windows per batch when scoring.
        num_workers: Worker processes that read images; None for the number in the recipe.
        checkpoint_every: Steps between checkpoints, so the most that an interruption can cost. None
            for the number in the recipe, or 1000.
        oracle_every: Steps between candidates, to also report the checkpoint that is best on the
            unseen domain; None for the last model alone.
        flip: See `Protocol`.
        whole: See `Protocol.varied`.
        autocast: See `Protocol`. Only for scoring; the recipe sets the precision of training.
        seen_at: See `Protocol.varied`.
        scales: See `Protocol.varied`.
        save_predictions: Folder for label maps; None for none.
        partial: Whether to train and score on archives that lack images. Such results are marked,
            and never compared with published ones.
        processes: Number of processes on this machine that share the runs.
        ray: Address of a Ray cluster that makes the runs instead, or `'local'`; None for no Ray.
        progress: Whether to show progress bars.
        say: Receives lines about the progress.

    Raises:
        ConfigError: If a number is out of range, or the device does not exist.
    """

    output: Path
    device: str | None = None
    batch_size: int = 1
    num_workers: int | None = None
    checkpoint_every: int | None = None
    oracle_every: int | None = None
    flip: bool = False
    whole: bool = False
    autocast: Half | None = None
    seen_at: SeenAt | None = None
    scales: tuple[float | int, ...] | None = None
    save_predictions: Path | None = None
    partial: bool = False
    processes: int = 1
    ray: str | None = None
    progress: bool = False
    say: Callable[[str], None] = _quiet

    def __post_init__(self) -> None:
        for name in ('batch_size', 'checkpoint_every', 'oracle_every', 'processes'):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f'{name}={value}: expected at least 1')
        if self.processes > 1 and self.ray is not None:
            raise ConfigError(
                f'processes={self.processes} and ray={self.ray!r}: Ray itself decides how many '
                'runs go in parallel, so leave out one of the two'
            )
        if self.num_workers is not None and self.num_workers < 0:
            raise ConfigError(f'num_workers={self.num_workers}: expected at least 0')
        try:
            device = self.torch_device
        except RuntimeError as error:
            raise ConfigError(
                f'{self.device!r} is not a device: expected auto, cpu, cuda or cuda:0'
            ) from error
        if device.type == 'cuda' and not torch.cuda.is_available():
            raise ConfigError(f'{self.device} is not available: expected cpu or auto')

    def protocol(self, protocol: Protocol) -> Protocol:
        """A protocol, changed by these options."""
        return protocol.varied(
            whole=self.whole,
            flip=self.flip,
            autocast=self.autocast,
            seen_at=self.seen_at,
            scales=self.scales,
        )

    @property
    def torch_device(self) -> torch.device:
        """The device as a torch device."""
        if self.device not in (None, 'auto'):
            return torch.device(self.device)
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
