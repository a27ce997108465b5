"""MixStyle: feature statistics mixed between the images of a batch."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError, ShapeError

__all__ = ['MixStyle', 'mix_statistics']


class MixStyle(nn.Module):
    """Feature maps that take part of their statistics from other images of the batch.

    With probability p, the images x of a batch are paired with a random permutation x̃ of it. Each
    channel then gets the mean and standard deviation

    - β = λ·μ(x) + (1 − λ)·μ(x̃) and γ = λ·σ(x) + (1 − λ)·σ(x̃),
    - output γ·(x − μ(x)) / σ(x) + β, with λ ~ Beta(α, α) for each image.

    No gradient flows through the statistics. The module has no parameters and no state. In eval
    mode, and with p = 0, it returns features unchanged. `attach(model, path, MixStyle())` puts it
    on a stage.

    Args:
        p: Probability that a batch is mixed.
        alpha: Parameter of the Beta distribution. Small values mix little or almost everything.
        channels_last: Whether channels are the last axis, as in the tokens (b,n,c) of
            vision transformers and the maps (b,h,w,c) of Swin.
        generator: Source of the draws; None for torch's global one.

    Raises:
        ConfigError: If p is not a probability or alpha is not positive. When called in training
            mode, if the batch has only one image, which leaves nothing to mix it with.
        ShapeError: When called, if the features lack these axes.

    Source:
        Zhou et al., Domain Generalization with MixStyle, ICLR 2021, arXiv 2104.02008, eqs. 4–6 and
        algorithm 1 without domain labels (random shuffle); they use p = 0.5 and α = 0.1.

    Example:
        >>> mix = MixStyle(p=1.0, generator=torch.Generator().manual_seed(0))
        >>> features = torch.rand(4, 8, 5, 5)
        >>> bool((mix(features) != features).any()), bool((mix.eval()(features) == features).all())
        (True, True)
    """

    def __init__(
        self,
        p: float = 0.5,
        alpha: float = 0.1,
        *,
        channels_last: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1 or not alpha > 0:
            raise ConfigError(f'p={p}, alpha={alpha}: expected a probability, and alpha above 0')
        self.p = p
        self.alpha = alpha
        self.channels_last = channels_last
        self.generator = generator

    def forward(self, features: Float[Tensor, 'b ...']) -> Float[Tensor, 'b ...']:
        """Features of the same shape and type."""
        if not self.training or self.p == 0:
            return features
        if features.ndim < (3 if self.channels_last else 4):
            raise ShapeError(
                f'features are {tuple(features.shape)}, expected maps (b,c,h,w): for tokens '
                '(b,n,c) and maps (b,h,w,c) pass channels_last=True'
            )
        places = features[0, ..., 0] if self.channels_last else features[0, 0]
        if places.numel() < 2:
            raise ShapeError(
                f'features are {tuple(features.shape)}, one place for each image, which has no '
                'spread: attach MixStyle to a shallower stage, or train on larger windows'
            )
        b = len(features)
        if b < 2:
            raise ConfigError(
                'the batch has 1 image, but MixStyle mixes the images of a batch with one another: '
                'train with batch_size 2 or more'
            )
        device = 'cpu' if self.generator is None else self.generator.device
        if float(torch.rand(1, generator=self.generator, device=device)) >= self.p:
            return features
        # torch's Beta distribution takes no generator, so numpy draws, seeded by the generator
        seed = int(torch.randint(2**62, (1,), generator=self.generator, device=device))
        share = np.random.default_rng(seed).beta(self.alpha, self.alpha, b)
        order = torch.randperm(b, generator=self.generator, device=device)
        return mix_statistics(
            features,
            order.to(features.device),
            torch.from_numpy(share).to(features.device, torch.float32),
            channels_last=self.channels_last,
        )

    def extra_repr(self) -> str:
        """The arguments, for `print(model)`."""
        return arguments_of(self)


def mix_statistics(
    features: Float[Tensor, 'b ...'],
    order: Int64[Tensor, ' b'],
    share: Float[Tensor, ' b'],
    *,
    channels_last: bool = False,
    eps: float = 1e-6,
) -> Float[Tensor, 'b ...']:
    """Features with statistics mixed with those of other images, see `MixStyle`.

    Args:
        features: (b,c,h,w), or (b,…,c) with `channels_last`.
        order: For each image, the one it is mixed with.
        share: λ, the weight of the image's own statistics.
        channels_last: Whether the channels are the last axis.
        eps: Added to variances, so that flat channels do not divide by zero.

    Example:
        >>> pair = torch.tensor([1.0, 3.0, 5.0, 9.0]).view(2, 1, 1, 2)
        >>> mix_statistics(pair, torch.tensor([1, 0]), torch.tensor([0.0, 1.0])).flatten().round()
        tensor([5., 9., 5., 9.])
    """
    # half precision is too coarse for the variance of a large map
    exact = features if features.dtype == torch.float64 else features.float()
    axes = tuple(range(1, features.ndim - 1)) if channels_last else (2, 3)
    with torch.no_grad():
        mean = exact.mean(axes, keepdim=True)
        spread = (exact.var(axes, keepdim=True) + eps).sqrt()
        own = share.to(exact.dtype).view(-1, *[1] * (features.ndim - 1))
        mixed_mean = own * mean + (1 - own) * mean[order]
        mixed_spread = own * spread + (1 - own) * spread[order]
    return ((exact - mean) / spread * mixed_spread + mixed_mean).to(features.dtype)
