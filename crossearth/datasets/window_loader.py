"""Batches of random windows that continue where a checkpoint left off."""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from crossearth.datasets.samplers import RandomWindowSampler

__all__ = ['WindowLoader']

type Sample = dict[str, Tensor]


class WindowLoader(DataLoader[Sample]):
    """Random windows in batches, as one endless sequence: batch n is always the same.

    Each pass takes the next `len` batches, wherever the last one ended: at the end of an epoch, in
    its middle because it was cut short, or in an earlier process that left its `state_dict`. The
    state counts the batches that were handed out, not the windows that worker processes requested
    in advance.

    Nothing is drawn from torch's global generator, so the draws of training do not depend on how
    often it was restarted.

    Args:
        dataset: Gives the sample of a window.
        sampler: Chooses the windows; its epoch and position are set here.
        batch_size: Windows per batch; a shorter one at the end of an epoch is dropped.
        num_workers: Worker processes.
        batches: Number of batches handed out before.
    """

    def __init__(
        self,
        dataset: Dataset[Sample],
        sampler: RandomWindowSampler,
        *,
        batch_size: int,
        num_workers: int = 0,
        batches: int = 0,
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
        self.batches = batches

    def state_dict(self) -> dict[str, int]:
        """How many batches were handed out."""
        return {'batches': self.batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after this many batches."""
        self.batches = state['batches']

    # Not typed as torch's iterator, which is one of two private classes.
    def __iter__(self) -> Iterator[Sample]:  # type: ignore[override]  # see the line above
        # A generator starts when its first batch is requested, and lightning requests iterators
        # that it does not use.
        assert self.batch_size is not None  # __init__ sets it
        left = len(self)
        while left:
            epoch, done = divmod(self.batches, len(self))
            self.windows.load_state_dict({'epoch': epoch, 'done': done * self.batch_size})
            for batch in islice(super().__iter__(), left):
                self.batches += 1
                left -= 1
                yield batch
