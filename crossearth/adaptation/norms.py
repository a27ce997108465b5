"""Batch norms with the statistics of the scenes."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crossearth.adaptation.method import averaging_norms, device_of
from crossearth.adaptation.windows import SceneWindows
from crossearth.errors import ConfigError
from crossearth.models.moments import ChannelMoments
from crossearth.models.source import valid_as_padded
from crossearth.modes import evaluating

__all__ = ['Norms', 'check_alpha', 'norm_moments', 'watching_norms']

type Each = Callable[[str, _BatchNorm, ChannelMoments], None]


@dataclass(frozen=True, slots=True)
class Norms:
    """Gives batch norms the mean and variance of the scenes, mixed with those that they have.

    Mean and variance become (1 − α) · source + α · scenes. Those of the scenes are taken over all
    pixels with data of all windows, not as a moving average. The windows pass once, and every norm
    works with what the windows so far have given, so that deep norms are measured on what the
    shallow ones will give. (Passes that repeat this with fixed statistics of the pass before do
    not settle: small changes of shallow norms add up in deep ones.)

    Args:
        alpha: Share of the scenes, from 0 (the model as it is) to 1.

    Raises:
        ConfigError: If α is out of range; by `adapt`, if the model has no batch norms.

    Source:
        AdaBN, Li et al. 2016, arXiv 1603.04779; the mixture, Schneider et al. 2020, arXiv
        2006.16971, where α follows from the number of images.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    @property
    def name(self) -> str:
        """As the command line calls it."""
        return 'norms'

    def options(self) -> Mapping[str, float | int]:
        """For the record."""
        return asdict(self)

    def adapt(self, model: nn.Module, windows: SceneWindows, *, seed: int = 0) -> nn.Module:  # noqa: ARG002  # of the contract: nothing is drawn
        """A copy with other statistics."""
        if not averaging_norms(model):
            raise ConfigError(
                'the model has no batch norms, so there are no statistics to adapt: choose '
                '--method tent (its other norms) or self-training'
            )
        adapted = copy.deepcopy(model)
        if self.alpha == 0:
            return adapted
        kept = {
            name: (norm.running_mean.double().clone(), norm.running_var.double().clone())
            for name, norm in averaging_norms(adapted).items()
            if norm.running_mean is not None and norm.running_var is not None
        }

        def mix(name: str, norm: _BatchNorm, moments: ChannelMoments) -> None:
            if not moments.count or norm.running_mean is None or norm.running_var is None:
                return  # nothing with data came by
            mean, var = kept[name]
            norm.running_mean.copy_(mean.lerp(moments.mean, self.alpha))
            norm.running_var.copy_(var.lerp(moments.var, self.alpha))

        norm_moments(adapted, windows, each=mix)
        return adapted


def check_alpha(alpha: float) -> None:
    """Refuse what is not a share.

    Raises:
        ConfigError: If it is out of range.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f'alpha is {alpha}: expected 0 (source) to 1 (scenes)')


def norm_moments(
    model: nn.Module,
    windows: SceneWindows,
    *,
    each: Each | None = None,
) -> dict[str, ChannelMoments]:
    """What comes into each batch norm of a model, over all windows.

    Args:
        model: It runs in eval mode.
        windows: Windows of scenes; pixels without data do not count.
        each: Called for a norm whenever something came in, before the norm works on it.

    Returns:
        Moments by the names of the norms.
    """
    moments = {name: ChannelMoments() for name in averaging_norms(model)}
    for image, valid in windows:
        with torch.no_grad(), evaluating(model), watching_norms(model, moments, valid, each=each):
            model(image[None].to(device_of(model)))
    return moments


@contextmanager
def watching_norms(
    model: nn.Module,
    moments: Mapping[str, ChannelMoments],
    valid: Bool[Tensor, 'h w'],
    *,
    each: Each | None = None,
) -> Iterator[None]:
    """Counts what comes into the batch norms of a model when it is called inside."""
    seen = valid_as_padded(model, valid)[None]

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, _BatchNorm)
            moments[name].add(inputs[0], seen)
            if each is not None:
                each(name, module, moments[name])

        return count

    handles = [
        norm.register_forward_pre_hook(watch(name)) for name, norm in averaging_norms(model).items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
