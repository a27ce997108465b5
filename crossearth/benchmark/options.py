"""Where and how runs of the benchmark are made."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from crossearth.benchmark.protocol import Half, Protocol, SeenAt
from crossearth.errors import ConfigError

__all__ = ['RunOptions']


def _quiet(line: str) -> None:
    """Say nothing."""


# many arguments: each is an option of the command line that no recipe can hold
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and how runs are made; what is learnt does not depend on it.

    What is None follows the recipe of a run.

    Args:
        output: Folder of training runs and results.
        device: `'auto'`, `'cpu'`, `'cuda'`, …; None for the accelerator of the recipe.
        batch_size: Windows at a time when scoring.
        num_workers: Reading processes; None for those of the recipe.
        checkpoint_every: Steps from one checkpoint to the next: what a kill costs at most. None
            for those of the recipe, or 1000.
        oracle_every: Steps from one candidate to the next, to also report the checkpoint that is
            best on the unseen domain; None for the last model alone.
        flip: See `Protocol`.
        whole: See `Protocol.varied`.
        autocast: See `Protocol`; for scoring alone, a recipe says what a training computes in.
        seen_at: See `Protocol.varied`.
        scales: See `Protocol.varied`.
        save_predictions: Folder for label maps; None for none.
        partial: Whether archives that lack images are trained on and scored. Such results are
            marked, and never set next to published ones.
        processes: Processes of this machine that the runs are shared out to.
        ray: Address of a Ray cluster that the runs are shared out to instead, or `'local'`; None
            for no Ray.
        progress: Whether to show bars.
        say: Where lines about the progress go.

    Raises:
        ConfigError: If a number is out of range, or there is no such device.
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
                f'processes={self.processes} and ray={self.ray!r}: Ray decides how many runs are '
                'made at a time; leave one of the two out'
            )
        if self.num_workers is not None and self.num_workers < 0:
            raise ConfigError(f'num_workers={self.num_workers}: expected at least 0')
        try:
            device = self.torch_device
        except RuntimeError as error:
            raise ConfigError(
                f'{self.device!r} is no device: expected auto, cpu, cuda or cuda:0'
            ) from error
        if device.type == 'cuda' and not torch.cuda.is_available():
            raise ConfigError(f'{self.device}: no such device is at hand; expected cpu or auto')

    def protocol(self, protocol: Protocol) -> Protocol:
        """How is scored what has this protocol by default."""
        return protocol.varied(
            whole=self.whole,
            flip=self.flip,
            autocast=self.autocast,
            seen_at=self.seen_at,
            scales=self.scales,
        )

    @property
    def torch_device(self) -> torch.device:
        """The device by its name."""
        if self.device not in (None, 'auto'):
            return torch.device(self.device)
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
