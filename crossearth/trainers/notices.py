"""Lightning's notices about settings that we choose on purpose."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['EXPECTED', 'hushed']

EXPECTED = (
    '.*does not have many workers',
    'Found .* in eval mode',  # frozen on purpose
    'Total length of .list. across ranks',
    '.*LeafSpec',  # lightning's use of torch
)
"""Beginnings of warnings that are expected in every training run with this library."""


@contextmanager
def hushed() -> Iterator[None]:
    """Hide them."""
    logger = logging.getLogger('lightning.pytorch')
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in (
            *EXPECTED,
            'Checkpoint directory .* exists and is not empty',
            'The number of training batches',
            '.*GPU available but not used',
            '.*resuming from a checkpoint that ended before the epoch ended',
            'The dirpath has changed',
        ):
            warnings.filterwarnings('ignore', message=message)
        try:
            yield
        finally:
            logger.setLevel(level)
