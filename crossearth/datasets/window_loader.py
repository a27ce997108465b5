"""Batches of random windows that go on where a checkpoint left them."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from crossearth.datasets.samplers import RandomWindowSampler
from crossearth.datasets.scene_dataset import SceneDataset

__all__ = ['WindowLoader']

type Sample = dict[str, Tensor]


class WindowLoader(DataLoader[Sample]):
    """Random windows in batches; a training that goes on in the middle of an epoch loses none.

    `state_dict` says how many batches of the epoch were handed out. That is not what the sampler
    says, for worker processes ask it for windows long before their batches are needed.

    Nothing is drawn from torch's global generator: what the training draws does not depend on how
    often it was begun anew.

    Args:
        dataset: The scenes.
        sampler: Chooses the windows. The epoch that is set there comes next.
        batch_size: Windows a batch; a shorter one at the end of an epoch is dropped.
        num_workers: Reading processes.
    """

    def __init__(
        self,
        dataset: SceneDataset,
        sampler: RandomWindowSampler,
        *,
        batch_size: int,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            dataset,
            sampler=sampler,
            batch_size=batch_size,
            num_workers=num_workers,
            drop_last=True,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(sampler.seed),
        )
        self.windows = sampler
        self._position = {'epoch': 0, 'batches': 0}
        self._resumed: dict[str, int] | None = None

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were handed out."""
        return dict(self._position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on behind the batches of a state, once its epoch is set."""
        self._resumed = dict(state)

    # Not typed as an iterator of torch's, which is one of two private classes.
    def __iter__(self) -> Iterator[Sample]:  # type: ignore[override]  # see the line above
        # As a generator it begins with the first batch that is asked for. Lightning asks for the
        # iterator before it sets the epoch.
        epoch, done = self.windows.epoch, 0
        if self._resumed is not None and self._resumed['epoch'] == epoch:
            done = self._resumed['batches']
        self._resumed = None
        assert self.batch_size is not None  # as given
        self.windows.load_state_dict({'epoch': epoch, 'done': done * self.batch_size})
        self._position = {'epoch': epoch, 'batches': done}
        for batch in super().__iter__():
            self._position['batches'] += 1
            yield batch
