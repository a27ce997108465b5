"""Features that do not reveal the domain (DANN)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.trainers.methods.method import Batch, Method
from crossearth.trainers.methods.wrapping import (
    SeenDomains,
    Wrapping,
    first_pass,
    recorded_passes,
    trained_backbone,
    with_term,
)

__all__ = ['DomainAdversarial', 'reversal_strength', 'reverse_gradient']


class DomainAdversarial(Wrapping):
    """A method with a domain classifier that the backbone learns to mislead (DANN).

    The classifier predicts the source domain from every place of the coarsest feature map. It
    learns by cross entropy. The backbone gets the same gradient times −λ:

    - λ = 2 / (1 + exp(−γ·p)) − 1, where p rises from 0 to 1 in `total_steps`.

    The term is `loss_domain`. With λ = 0, at the first step, and with a `weight` of 0, the backbone
    learns as it would without the term.

    Args:
        method: The method inside; it must show the backbone the whole batch.
        num_domains: Source domains in the training data, see `merge_domains`; at least 2.
        total_steps: Optimiser steps after which p reaches 1, such as those of the training run.
        weight: Weight of the term.
        gamma: γ, how fast λ rises.
        width: Channels of the classifier's hidden layer.

    Raises:
        ConfigError: If an argument is out of range or the model has no backbone. When called, if
            the batch has no `domain`, or if 100 batches had only one.

    Source:
        Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17, 2016, arXiv
        1505.07818, eq. 9 and §5.2.2 (γ = 10). Their classifier sees one vector per image. For
        segmentation, ours sees each place of the map.
    """

    step: Tensor

    def __init__(
        self,
        method: Method,
        *,
        num_domains: int,
        total_steps: int,
        weight: float = 1.0,
        gamma: float = 10.0,
        width: int = 256,
    ) -> None:
        super().__init__(method)
        if num_domains < 2:
            raise ConfigError(
                f'num_domains={num_domains}: expected at least 2, because there is nothing to '
                'tell apart in one domain; train on several, see crossearth.datasets.merge_domains'
            )
        if total_steps < 1 or weight < 0 or gamma < 0:
            raise ConfigError(
                f'total_steps={total_steps}, weight={weight}, gamma={gamma}: expected at least 1 '
                'step, and numbers from 0 up'
            )
        channels: Any = trained_backbone(self, 'it cannot learn to mislead').channels
        self.classifier = nn.Sequential(
            nn.Conv2d(channels[-1], width, 1), nn.ReLU(), nn.Conv2d(width, num_domains, 1)
        )
        self.seen = SeenDomains(num_domains, 'DomainAdversarial')
        self.total_steps = total_steps
        self.weight = weight
        self.gamma = gamma
        self.register_buffer('step', torch.zeros((), dtype=torch.int64))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the method inside, and `loss_domain`."""
        domain: Tensor = self.seen(batch)
        with recorded_passes(self.model) as passes:
            terms = self.method.losses(batch)
        coarse = first_pass(passes, len(domain)).features.maps[-1]
        strength = reversal_strength(int(self.step) / self.total_steps, gamma=self.gamma)
        logits = self.classifier(reverse_gradient(coarse, strength))
        target = domain[:, None, None].expand(-1, *logits.shape[-2:])
        return with_term(
            terms, 'loss_domain', self.weight * F.cross_entropy(logits.float(), target)
        )

    def after_step(self) -> None:
        """Count the step."""
        super().after_step()
        self.step += 1


def reversal_strength(progress: float, *, gamma: float = 10.0) -> float:
    """λ after a fraction of the training run; after the end it stays at its last value.

    Args:
        progress: Fraction of the training run that is done, from 0.
        gamma: How fast it rises.

    Example:
        >>> [round(reversal_strength(p), 4) for p in (0.0, 0.1, 1.0, 2.0)]
        [0.0, 0.4621, 0.9999, 0.9999]
    """
    return 2 / (1 + math.exp(-gamma * min(progress, 1.0))) - 1


def reverse_gradient(values: Float[Tensor, '...'], strength: float) -> Float[Tensor, '...']:
    """Return the values unchanged, with a gradient times −strength.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> (3 * reverse_gradient(x, 0.5)).sum().backward()
        >>> x.grad
        tensor([-1.5000, -1.5000])
    """
    reversed_: Tensor = _Reversal.apply(values, strength)
    return reversed_


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None
