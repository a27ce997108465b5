"""Group DRO: the domain with the largest loss counts most."""

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from crossearth.errors import ConfigError
from crossearth.models import MixStyle
from crossearth.trainers.methods.fisher_gating import FisherGating
from crossearth.trainers.methods.method import Batch, Method
from crossearth.trainers.methods.wrapping import SeenDomains, Wrapping

__all__ = ['GroupDRO', 'raised_weights']


class GroupDRO(Wrapping):
    """A method whose losses are weighted by domain, more where they are larger.

    The method inside computes the loss ℓ_g of each domain of a batch separately. Then

    - q_g ← q_g·exp(η·ℓ_g), divided by the sum over all domains, and
    - every term of the method inside becomes Σ_g q_g·ℓ_g; a domain without images adds nothing.

    The weights q start equal and are saved in checkpoints. With η = 0 they stay equal. A single
    domain has the weight 1, so the losses are those of the method inside. Terms are averages over a
    domain's own images, and batch norms see one domain at a time.

    Args:
        method: The method inside. Apply all other wrappers but `FisherGating` to it first.
        num_domains: Source domains in the training data, see `merge_domains`.
        step_size: η.

    Raises:
        ConfigError: If an argument is out of range, or `MixStyle` or `FisherGating` is inside. When
            called, if the batch has no `domain` or has unlabelled target images, if 100 batches had
            only one of several domains, or in distributed training, where the domains of a batch
            differ between the processes.

    Source:
        Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, ICLR 2020, arXiv
        1911.08731, algorithm 1 with η = 0.01, over batches that hold several groups.
    """

    q: Tensor

    def __init__(self, method: Method, *, num_domains: int, step_size: float = 0.01) -> None:
        super().__init__(method)
        if num_domains < 1 or step_size < 0:
            raise ConfigError(
                f'num_domains={num_domains}, step_size={step_size}: expected at least 1 domain, '
                'and a step from 0 up'
            )
        if any(isinstance(part, MixStyle) for part in method.modules()):
            raise ConfigError(
                'GroupDRO passes one domain at a time to the method inside, so MixStyle could not '
                'mix domains, and would fail if a domain has a single image: leave one of them out'
            )
        if any(isinstance(part, FisherGating) for part in method.modules()):
            raise ConfigError(
                'GroupDRO passes one domain at a time to the method inside, so FisherGating would '
                'measure the first domain alone: use FisherGating(GroupDRO(…))'
            )
        self.seen = SeenDomains(num_domains, 'GroupDRO')
        self.step_size = step_size
        self.register_buffer('q', torch.full((num_domains,), 1 / num_domains, dtype=torch.float64))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the method inside, weighted by domain."""
        if distributed.is_available() and distributed.is_initialized():
            raise ConfigError('GroupDRO runs in a single process: set trainer.devices to 1')
        if 'target_image' in batch:
            raise ConfigError(
                'the batch has target images, but GroupDRO weights labelled domains: leave the '
                'target out'
            )
        domain: Tensor = self.seen(batch)
        groups: dict[int, dict[str, Tensor]] = {}
        for group in sorted(set(domain.tolist())):
            rows = (domain == group).nonzero().flatten()
            groups[group] = self.method.losses({key: value[rows] for key, value in batch.items()})
        if self.training:
            found = torch.zeros_like(self.q)
            for group, terms in groups.items():
                found[group] = torch.stack([value.detach() for value in terms.values()]).sum()
            self.q.copy_(raised_weights(self.q, found, self.step_size))
        weighted: dict[str, Tensor] = {}
        for group, terms in groups.items():
            for name, value in terms.items():
                weighted[name] = weighted.get(name, 0) + self.q[group].to(value.dtype) * value
        return weighted


def raised_weights(
    q: Float[Tensor, ' g'], losses: Float[Tensor, ' g'], step_size: float
) -> Float[Tensor, ' g']:
    """Weights times exp(step_size·loss), normalised; unchanged if a loss is not finite.

    Example:
        >>> q = raised_weights(torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]), 1.0)
        >>> [round(weight, 4) for weight in q.tolist()]
        [0.2689, 0.7311]
    """
    if not losses.isfinite().all():
        return q
    # softmax of logarithms, because exp of a large loss would overflow
    return (q.log() + step_size * losses).softmax(0)
