"""One confusion matrix for each domain, whatever the number of processes."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Int64
from lightning.pytorch.strategies import Strategy
from torch import Tensor

from crossearth.metrics import confusion_matrix

__all__ = ['DomainCounts']


class DomainCounts:
    """Counts pixels of each domain by true and predicted class.

    Args:
        num_classes: Classes.

    Attributes:
        matrices: Domain → counts (k,k), rows are true classes.

    Example:
        >>> counts = DomainCounts(2)
        >>> counts.add('city', torch.tensor([[[0, 1]]]), torch.tensor([[[0, 255]]]))
        >>> counts.matrices['city'].tolist()
        [[1, 0], [0, 0]]
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.matrices: dict[str, Int64[Tensor, 'k k']] = {}

    def clear(self) -> None:
        """Clear all counts."""
        self.matrices = {}

    def add(
        self, domain: str, predicted: Int64[Tensor, 'b h w'], mask: Int64[Tensor, 'b h w']
    ) -> None:
        """Count a batch.

        Args:
            domain: Name of the domain.
            predicted: Class ids.
            mask: True class ids; 255 is not counted.
        """
        counts = confusion_matrix(predicted, mask, num_classes=self.num_classes)
        before = self.matrices.get(domain)
        self.matrices[domain] = counts if before is None else before + counts

    def reduce(self, domains: Sequence[str], strategy: Strategy, device: torch.device) -> None:
        """Sum the counts over all processes; every process must call it with the same domains.

        Args:
            domains: Domains in the order of the sums, including those that this process has not
                seen.
            strategy: Strategy of the trainer.
            device: Device of the counts.
        """
        for domain in domains:
            # A process without a batch of this domain has to join the sum, too.
            zero = torch.zeros((self.num_classes,) * 2, dtype=torch.int64, device=device)
            matrix = self.matrices.get(domain, zero)
            self.matrices[domain] = cast(Tensor, strategy.reduce(matrix, reduce_op='sum'))
