"""Gives batch norms the statistics of the scenes."""

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
from crossearth.models.source import segmenter_backbone, shows_whole, valid_as_padded
from crossearth.modes import evaluating

__all__ = ['Norms', 'check_alpha', 'norm_moments', 'watching_norms']

type Each = Callable[[str, _BatchNorm, ChannelMoments], None]


@dataclass(frozen=True, slots=True)
class Norms:
    """Gives batch norms the mean and variance of the scenes, mixed with their own.

    Mean and variance become (1 − α) · source + α · scenes. Those of the scenes are taken over all
    pixels with data in all windows, not as a moving average. The windows pass through the model
    once, and every norm works with the statistics of the windows so far. So deep norms are measured
    on what the adapted shallow norms give. (Repeating this with the fixed statistics of the
    previous pass does not converge, because small changes of shallow norms add up in deep ones.)

    Args:
        alpha: Weight of the scenes, from 0 (the model is not changed) to 1.

    Raises:
        ConfigError: If α is out of range; from `adapt`, if the model has no batch norms.

    Source:
        AdaBN, Li et al. 2016, arXiv 1603.04779. The mixture: Schneider et al. 2020, arXiv
        2006.16971, where α follows from the number of images.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return 'norms'

    def options(self) -> Mapping[str, float | int]:
        """Its options, for the record in the model's file."""
        return asdict(self)

    def adapt(self, model: nn.Module, windows: SceneWindows, *, seed: int = 0) -> nn.Module:  # noqa: ARG002  # of the interface; this method draws nothing
        """A copy with new statistics."""
        if not averaging_norms(model):
            raise ConfigError(
                'the model has no batch norms, so there are no statistics to adapt: choose '
                '--method tent (for other norms) or self-training'
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
                return  # it has seen no pixels with data
            mean, var = kept[name]
            norm.running_mean.copy_(mean.lerp(moments.mean, self.alpha))
            norm.running_var.copy_(var.lerp(moments.var, self.alpha))

        norm_moments(adapted, windows, each=mix)
        return adapted


def check_alpha(alpha: float) -> None:
    """Refuse a weight that is out of range.

    Raises:
        ConfigError: If it is not from 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f'alpha is {alpha}: expected 0 (source) to 1 (scenes)')


def norm_moments(
    model: nn.Module,
    windows: SceneWindows,
    *,
    each: Each | None = None,
) -> dict[str, ChannelMoments]:
    """Statistics of the inputs of each batch norm of a model, over all windows.

    Args:
        model: The model, run in eval mode.
        windows: Windows of scenes; pixels without data do not count.
        each: Called for a norm on each new input, before the norm processes it.

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
    """Collects the inputs of a model's batch norms while it runs inside the block.

    Where some pixels have no data, the details of `HRDA` do not count: their place is unknown.
    """
    seen = valid_as_padded(model, valid)[None]
    is_known = True  # whether the pass that is running shows the window as a whole

    def look(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal is_known
        is_known = shows_whole(inputs[0], seen) or bool(seen.all())

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, _BatchNorm)
            if is_known:
                moments[name].add(inputs[0], seen)
            if each is not None:
                each(name, module, moments[name])

        return count

    # Before the norm runs, so that it already uses the statistics that `each` sets.
    handles = [
        norm.register_forward_pre_hook(watch(name)) for name, norm in averaging_norms(model).items()
    ]
    backbone = segmenter_backbone(model)
    if backbone is not None:
        handles.append(backbone.register_forward_pre_hook(look))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
