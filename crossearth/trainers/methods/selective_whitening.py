"""Features without those correlations that a change of style changes."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.modes import evaluating
from crossearth.trainers.methods.method import Batch, Method
from crossearth.trainers.methods.wrapping import (
    Wrapping,
    first_pass,
    recorded_passes,
    trained_backbone,
    with_term,
)

__all__ = [
    'SelectiveWhitening',
    'instance_covariance',
    'sensitive_pairs',
    'whitening_loss',
]

_EPS = 1e-5


class SelectiveWhitening(Wrapping):
    """A method with a term against the correlations of channels that depend on style.

    On a feature map, standardised for each image and channel, with Σ the covariance of channels:

    - For the first `measure_steps` steps the term is 0, and the variance of each entry of Σ
      between images and their copies under `transform` is averaged.
    - The entries are then put into `clusters` groups by their variance (k-means). The `kept` lowest
      groups are left alone; the others, above the diagonal, are the mask M.
    - From then on the term is `weight`·Σ_ij M_ij·abs(Σ_ij) / Σ_ij M_ij, averaged over the images.

    It is named `loss_whitening`; a weight of 0 trains as without it. Measuring takes two more
    passes of the encoder, without gradients and in eval mode. Variances and mask are saved in
    checkpoints.

    Args:
        method: The method inside; it must show the backbone the whole batch.
        transform: Changes the style of images in [0, 1], such as `PhotometricDistortion()`.
        level: Which of the four feature maps, 0 the finest.
        weight: Weight of the term.
        measure_steps: Optimiser steps that are spent on measuring.
        clusters: Number of groups of variances.
        kept: How many of them, from the lowest, are not whitened.

    Raises:
        ConfigError: If an argument is out of range, or the model has no backbone that trains.

    Source:
        Choi et al., RobustNet, CVPR 2021, arXiv 2103.15597, §3.3 (instance selective whitening
        loss). Theirs acts on several layers at once, whose norms are instance norms, and measures
        for an epoch. Ours standardises features only for the term, in a plain backbone.
        `add_instance_norms` builds one with instance norms.
    """

    step: Tensor
    variance: Tensor
    measured: Tensor
    mask: Tensor

    def __init__(
        self,
        method: Method,
        *,
        transform: nn.Module,
        level: int = 0,
        weight: float = 0.6,
        measure_steps: int = 1000,
        clusters: int = 3,
        kept: int = 1,
    ) -> None:
        super().__init__(method)
        if weight < 0 or not 0 <= level <= 3 or measure_steps < 1 or not 0 < kept < clusters:
            raise ConfigError(
                f'weight={weight}, level={level}, measure_steps={measure_steps}, '
                f'clusters={clusters}, kept={kept}: expected a weight from 0 up, a level of 0 to '
                '3, at least 1 step, and fewer groups kept than there are'
            )
        channels: Any = trained_backbone(self, 'its features cannot be whitened').channels
        c = int(channels[level])
        self.transform = transform
        self.level = level
        self.weight = weight
        self.measure_steps = measure_steps
        self.clusters = clusters
        self.kept_clusters = kept
        self.register_buffer('step', torch.zeros((), dtype=torch.int64))
        self.register_buffer('variance', torch.zeros(c, c))
        self.register_buffer('measured', torch.zeros((), dtype=torch.int64))
        self.register_buffer('mask', torch.zeros(c, c, dtype=torch.bool))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The terms of the method inside, and `loss_whitening`."""
        with recorded_passes(self.model) as passes:
            terms = self.method.losses(batch)
        features = first_pass(passes, len(batch['image'])).features.maps[self.level]
        if self.step < self.measure_steps:
            self._measure(batch['image'])
        return with_term(terms, 'loss_whitening', self.weight * whitening_loss(features, self.mask))

    def after_step(self) -> None:
        """Count the step; after the last measuring step, choose the mask."""
        super().after_step()
        self.step += 1
        if self.step == self.measure_steps and self.measured:
            self.mask.copy_(
                sensitive_pairs(
                    self.variance / self.measured, clusters=self.clusters, kept=self.kept_clusters
                )
            )

    @torch.no_grad()
    def _measure(self, image: Float[Tensor, 'b c h w']) -> None:
        """Add the variances of a batch; norms and dropout are restored afterwards."""
        views = image, self.transform(image)
        with evaluating(self.model):
            plain, changed = (instance_covariance(self._map_of(view)) for view in views)
        # of two values, the variance is the square of half their difference
        self.variance += ((plain - changed) / 2).square().mean(0)
        self.measured += 1

    def _map_of(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b c2 h2 w2']:
        with recorded_passes(self.model, trained_only=False) as passes:
            self.model(image)
        return first_pass(passes, len(image)).features.maps[self.level]


def instance_covariance(features: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b c c']:
    """Covariance of channels over the places of each image, of standardised channels.

    Example:
        >>> row = torch.tensor([1.0, 2.0, 3.0])
        >>> features = torch.stack([row, -2 * row]).view(1, 2, 1, 3)
        >>> instance_covariance(features).round(decimals=3)
        tensor([[[ 1., -1.],
                 [-1.,  1.]]])
    """
    values = features.float().flatten(2)
    values = values - values.mean(2, keepdim=True)
    values = values / (values.square().mean(2, keepdim=True) + _EPS).sqrt()
    covariance: Tensor = values @ values.mT / values.shape[2]
    return covariance


def whitening_loss(
    features: Float[Tensor, 'b c h w'], mask: Bool[Tensor, 'c c']
) -> Float[Tensor, '']:
    """Mean absolute covariance of the chosen pairs of channels; 0 if there are none."""
    chosen = instance_covariance(features).abs() * mask
    return chosen.sum((1, 2)).mean() / mask.sum().clamp(min=1)


def sensitive_pairs(
    variance: Float[Tensor, 'c c'], *, clusters: int, kept: int
) -> Bool[Tensor, 'c c']:
    """Pairs of channels, above the diagonal, whose covariance varies more than in the low groups.

    Args:
        variance: Variance of each entry of the covariance.
        clusters: Groups of k-means, which starts from evenly spaced quantiles.
        kept: How many groups, from the lowest, are left out.

    Example:
        >>> variance = torch.tensor([[9.0, 0.1, 5.0], [9.0, 9.0, 0.2], [9.0, 9.0, 9.0]])
        >>> sensitive_pairs(variance, clusters=2, kept=1).nonzero().tolist()
        [[0, 2]]
    """
    above = torch.ones_like(variance, dtype=torch.bool).triu(1)
    values = variance[above].double()
    if not len(values):
        return above
    # quantiles instead of random centres, so that the same variances give the same mask
    places = torch.linspace(0, 1, 2 * clusters + 1, dtype=torch.float64)[1::2].to(values.device)
    centres = values.quantile(places)
    for _ in range(100):
        group = (values[:, None] - centres).abs().argmin(1)
        count = group.bincount(minlength=clusters)
        total = torch.zeros_like(centres).index_add_(0, group, values)
        # An empty group keeps its centre.
        moved = torch.where(count > 0, total / count.clamp(min=1), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    low = centres.argsort()[:kept]
    chosen = above.clone()
    chosen[above] = (group[:, None] != low).all(1)
    return chosen
