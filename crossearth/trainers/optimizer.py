"""Optimiser groups and the learning-rate schedule."""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from crossearth.errors import ConfigError
from crossearth.models import Segmenter
from crossearth.models.features import Layered

__all__ = ['ParameterGroup', 'check_schedule', 'parameter_groups', 'poly_factor']

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm, _NormBase)
_TABLES = (nn.Embedding,)  # level embeddings and queries
_TOKENS = (
    'learnable_tokens',  # Rein, whole or as factors
    'prompt',  # PatchMask
    'pos_embed',
    'cls_token',
    'reg_token',
    'mask_token',
    'relative_position_bias_table',
)


class ParameterGroup(TypedDict):
    """Parameters that share a weight decay, as torch optimisers take them.

    If learning rates differ, they also share `lr_scale`, the factor of their learning rate.
    """

    params: list[nn.Parameter]
    weight_decay: float
    lr_scale: NotRequired[float]


def parameter_groups(
    module: nn.Module,
    *,
    weight_decay: float,
    decay_biases: bool = False,
    layer_decay: float = 1.0,
    decoder_lr_scale: float = 1.0,
) -> list[ParameterGroup]:
    """Trainable parameters in two groups: matrices and kernels decay, the others do not.

    Three kinds do not decay: norms, biases and all other vectors and scalars, such as the scale of
    Rein; embeddings, which are the levels and queries of Mask2Former; and tokens, such as those of
    Rein, the prompt of `PatchMask`, class and register tokens, and positions. Frozen parameters are
    in neither group, and shared ones are in one place only.

    Args:
        module: The model.
        weight_decay: Decay of the first group.
        decay_biases: Whether biases of non-normalisation layers are in the first group too.
        layer_decay: Below 1, layer-wise learning rates: the deepest trained layer of the backbone
            gets this share of the learning rate, and each earlier layer this share of the next
            one's. There are then two groups for each depth. The backbone counts its layers, see
            `Layered`.
        decoder_lr_scale: All that trains outside the backbone of a `Segmenter`, mainly the
            decoder, learns at this multiple of the learning rate.

    Raises:
        ConfigError: If `layer_decay` is not above 0 and at most 1, or no trained backbone counts
            its layers. If `decoder_lr_scale` is not positive, or there is no `Segmenter`.

    Source:
        The released training run: decay 0.05, none on norms, `level_embed`, learnable tokens and
        `reins.scale`. It decays biases, as `decay_biases=True` does. By default they do not decay,
        as is common for transformers. Layer-wise rates: Clark et al., ELECTRA (arXiv 2003.10555),
        and Bao et al., BEiT (arXiv 2106.08254). A decoder at ten times the rate: Hoyer et al.,
        DAFormer (arXiv 2111.14887), §4.

    Example:
        >>> groups = parameter_groups(nn.Linear(3, 2), weight_decay=0.05)
        >>> [(len(group['params']), group['weight_decay']) for group in groups]
        [(1, 0.05), (1, 0.0)]
    """
    if not 0 < layer_decay <= 1:
        raise ConfigError(f'layer_decay is {layer_decay}: expected a share above 0, at most 1')
    if decoder_lr_scale <= 0:
        raise ConfigError(f'decoder_lr_scale is {decoder_lr_scale}: expected a number above 0')
    scales = {} if decoder_lr_scale == 1 else _of_decoders(module, decoder_lr_scale)
    scales |= {} if layer_decay == 1 else _of_layers(module, layer_decay)
    groups: dict[tuple[float, bool], ParameterGroup] = {}
    for parameter, decays in _trainable(module, decay_biases):
        scale = scales.get(id(parameter), 1.0)
        group = groups.setdefault(
            (scale, decays), {'params': [], 'weight_decay': weight_decay if decays else 0.0}
        )
        if scales:
            group['lr_scale'] = scale
        group['params'].append(parameter)
    return [groups[key] for key in sorted(groups, reverse=True)]  # deepest first, decayed first


def _of_decoders(module: nn.Module, scale: float) -> dict[int, float]:
    """Identity of each parameter outside the backbones → the scale."""
    backbones = [part.backbone for part in module.modules() if isinstance(part, Segmenter)]
    inside = {
        id(parameter)
        for backbone in backbones
        if isinstance(backbone, nn.Module)
        for parameter in backbone.parameters()
    }
    if not inside:
        raise ConfigError(
            f'decoder_lr_scale is {scale}, but the model is not a Segmenter, so its decoder is '
            'unknown: leave it at 1, or use a model from a builder of crossearth.models'
        )
    return {id(p): scale for p in module.parameters() if id(p) not in inside}


def _of_layers(module: nn.Module, layer_decay: float) -> dict[int, float]:
    """Identity of each trained parameter in a layer of a backbone → its share of the rate."""
    scales: dict[int, float] = {}
    for backbone in module.modules():
        if not isinstance(backbone, Layered):
            continue
        trained = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
        depths = {name: depth for name, depth in backbone.layer_depths().items() if name in trained}
        deepest = max(depths.values(), default=0)
        for name, depth in depths.items():
            scales[id(trained[name])] = layer_decay ** (deepest + 1 - depth)
    if not scales:
        raise ConfigError(
            f'layer_decay is {layer_decay}, but no backbone trains and counts its layers '
            '(layer_depths): leave it at 1, or build the model with '
            "adapter='full'"
        )
    return scales


def _trainable(module: nn.Module, decay_biases: bool) -> Iterator[tuple[nn.Parameter, bool]]:
    """Each trainable parameter once, and whether it decays."""
    seen: set[int] = set()
    for owner in module.modules():
        whole = not isinstance(owner, _NORMS + _TABLES)
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                of_kind = parameter.ndim > 1 or (decay_biases and name.endswith('bias'))
                yield parameter, whole and of_kind and not name.startswith(_TOKENS)


def poly_factor(step: int, *, total_steps: int, power: float = 0.9, warmup_steps: int = 0) -> float:
    """Share of the learning rate at an optimiser step: linear warm-up, then polynomial decay to 0.

    Args:
        step: Steps already made.
        total_steps: Step at which the rate reaches 0.
        power: Exponent of the decay.
        warmup_steps: Steps over which the rate rises from near 0 to its full value; the decay
            begins after them.

    Source:
        The released configurations. 512 px: decay over 40 000 steps, stopped at 30 000; 1024 px:
        10 000 steps of warm-up, then decay until 40 000 (paper §5.1: poly, power 0.9).

    Example:
        >>> [round(poly_factor(step, total_steps=6, warmup_steps=2), 3) for step in range(7)]
        [0.5, 1.0, 1.0, 0.772, 0.536, 0.287, 0.0]
    """
    if step < warmup_steps:
        # Without + 1 the first step would have no effect.
        return (step + 1) / warmup_steps
    # A step beyond the end must not get below 0, where a fractional power is complex.
    share: float = max(1 - (step - warmup_steps) / (total_steps - warmup_steps), 0.0) ** power
    return share


def check_schedule(*, total_steps: float, warmup_steps: int, power: float) -> None:
    """Raise if a schedule makes no sense.

    Args:
        total_steps: Step at which the rate reaches 0.
        warmup_steps: Steps of warm-up.
        power: Exponent of the decay.

    Raises:
        ConfigError: If the warm-up is not shorter than the run, the end of the run is unknown, or
            the rate would not fall.
    """
    if warmup_steps < 0 or power <= 0:
        raise ConfigError(
            f'warmup_steps={warmup_steps}, power={power}: expected at least 0 steps, and a power '
            'above 0'
        )
    if total_steps == float('inf'):
        raise ConfigError(
            'the learning rate falls until the end of the training run, but the run has no end: '
            'set decay_steps, or use a trainer with max_steps or max_epochs'
        )
    if total_steps <= warmup_steps:
        raise ConfigError(
            f'the learning rate reaches 0 at step {total_steps:.0f}, within the {warmup_steps} '
            'steps of warm-up: raise decay_steps (or max_steps, if it is not set), or lower '
            'warmup_steps'
        )
