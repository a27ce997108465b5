"""CrossEarth-Gate: a toolbox of modules in each block; Fisher information selects a few of them.

Source: Cao et al., CrossEarth-Gate: Fisher-Guided Adaptive Tuning Engine for Efficient Adaptation
of Cross-Domain Remote Sensing Semantic Segmentation, CVPR 2026, arXiv 2511.20302. Written from the
formulas and settings of two published summaries of the paper, because the paper was not available.

This file has the modules, each with a switch. The training method `FisherGating` decides when to
measure and which modules to open.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from timm.layers.attention import Attention
from timm.models.beit import Attention as BeitAttention
from timm.models.eva import EvaAttention
from timm.models.swin_transformer import WindowAttention
from timm.models.tiny_vit import Attention as TinyViTAttention
from timm.models.vision_transformer_sam import Attention as SAMAttention
from torch import Tensor, nn
from torch.nn.utils import parametrize

from crossearth.describing import arguments_of
from crossearth.errors import ConfigError
from crossearth.models.adapters.earth import Bottleneck, EarthAdapter

__all__ = ['Gate', 'Gated', 'add_toolbox', 'choose', 'gated_modules', 'importance']

_STACKED = (
    Attention,
    BeitAttention,
    EvaAttention,
    SAMAttention,
    WindowAttention,
)  # rows are query, key, value


class Gated(nn.Module):
    """A part of the toolbox that is open (1) or closed (0); closed parts do nothing.

    Attributes:
        kind: Modules of one kind are compared with one another.
        opened: 1 or 0, saved with the model.
    """

    kind: ClassVar[str]
    opened: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('opened', torch.ones(()))

    def own_parameters(self) -> list[nn.Parameter]:
        """What the module trains."""
        return [p for p in self.parameters() if p.requires_grad]


class _Spatial(Gated):
    """LoRA on the query and value rows of a layer that computes query, key and value at once."""

    kind = 'spatial'
    mergeable: ClassVar[bool] = False  # it opens and closes
    query: Tensor
    value: Tensor

    def __init__(self, weight: Tensor, query: Tensor, value: Tensor, rank: int) -> None:
        super().__init__()
        dim = weight.shape[1]
        self.register_buffer('query', query, persistent=False)
        self.register_buffer('value', value, persistent=False)
        self.a_query, self.a_value = (
            nn.Parameter(weight.new_empty(rank, dim).normal_(std=dim**-0.5)) for _ in range(2)
        )
        self.b_query = nn.Parameter(weight.new_zeros(len(query), rank))
        self.b_value = nn.Parameter(weight.new_zeros(len(value), rank))

    def forward(self, weight: Float[Tensor, 'out in']) -> Float[Tensor, 'out in']:
        """The changed weight."""
        query = self.opened * self.b_query @ self.a_query
        value = self.opened * self.b_value @ self.a_value
        return weight.index_add(0, self.query, query.to(weight.dtype)).index_add(
            0, self.value, value.to(weight.dtype)
        )


class _Semantic(Gated):
    """A bottleneck MLP with GELU, in parallel with the block's MLP."""

    kind = 'semantic'

    def __init__(self, mlp: nn.Module, dim: int, width: int) -> None:
        super().__init__()
        self.mlp = mlp
        self.bottleneck = Bottleneck(dim, width, gelu=True)

    def forward(self, features: Float[Tensor, '*b c']) -> Float[Tensor, '*b c']:
        """The sum of both MLPs."""
        both: Tensor = self.mlp(features) + self.opened * self.bottleneck(features)
        return both


class _Frequency(Gated):
    """An `EarthAdapter` after one block."""

    kind = 'frequency'

    def __init__(self, dim: int, width: int, cutoff: float) -> None:
        super().__init__()
        self.adapter = EarthAdapter(1, dim, width=width, cutoff=cutoff)

    def forward(
        self, features: Float[Tensor, 'b n c'], grid: tuple[int, int]
    ) -> Float[Tensor, 'b n c']:
        """Refined features."""
        return features + self.opened * self.adapter.added(features, 0, grid)


class Gate(nn.Module):
    """The frequency part of the toolbox, as an adapter after each block; see `add_toolbox`.

    Args:
        depth: Number of blocks.
        dim: Width of their features.
        width: Width of the bottlenecks.
        cutoff: See `EarthAdapter`.

    Source:
        CrossEarth-Gate, "frequency module". The width, 32, is from the table of a summary.

    Example:
        >>> gate = Gate(depth=1, dim=8, width=4)
        >>> features = torch.rand(1, 12, 8)
        >>> torch.equal(gate(features, 0, (3, 4)), features)
        True
    """

    def __init__(self, depth: int, dim: int, *, width: int = 32, cutoff: float = 0.3) -> None:
        super().__init__()
        if min(depth, dim, width) < 1:
            raise ConfigError(f'depth={depth}, dim={dim}, width={width}: expected at least 1')
        self.depth = depth
        self.blocks = nn.ModuleList(_Frequency(dim, width, cutoff) for _ in range(depth))

    def extra_repr(self) -> str:
        """The arguments, for `print`."""
        return arguments_of(self)

    def forward(
        self, features: Float[Tensor, 'b n c'], layer: int, grid: tuple[int, int]
    ) -> Float[Tensor, 'b n c']:
        """Features of one block, refined where its module is open."""
        refined: Tensor = self.blocks[layer](features, grid)
        return refined

    def queries(self) -> None:
        """No object queries."""
        return


def add_toolbox(network: nn.Module, *, rank: int = 64, width: int = 64) -> None:
    """Put the spatial and the semantic module into each block of a transformer, in place.

    - Spatial: LoRA on the weights of query and value, `W + B A`.
    - Semantic: an adapter in parallel with the MLP, `MLP(x) + W_up gelu(W_down x)`. x is the input
      of the MLP, after the norm.

    The third module, frequency, is `Gate`, after each block or stage.

    Args:
        network: Built by timm and frozen: a plain transformer with attention that computes query,
            key and value at once (ViT, DINOv2, DINOv3, BEiT, SAM), Swin or TinyViT.
        rank: Rank of the spatial modules.
        width: Width of the semantic ones.

    Raises:
        ConfigError: If a size is not positive, or the network has no such blocks, already has a
            toolbox, or has attention whose rows of query and value are not known.

    Source:
        CrossEarth-Gate, "RS Module Toolbox"; rank and width are from the table of a summary.

    Example:
        >>> import timm
        >>> vit = timm.create_model('vit_tiny_patch16_224', depth=2).requires_grad_(False)
        >>> add_toolbox(vit, rank=2, width=4)
        >>> len(gated_modules(vit))
        4
    """
    if min(rank, width) < 1:
        raise ConfigError(f'rank={rank}, width={width}: expected at least 1')
    if gated_modules(network):
        raise ConfigError(f'{type(network).__name__} already has a toolbox: build it again')
    found: list[Any] = [
        block
        for block in network.modules()
        if hasattr(block, 'attn') and isinstance(getattr(block, 'mlp', None), nn.Module)
    ]
    if not found:
        raise ConfigError(
            f'{type(network).__name__} has no blocks of attention and MLP, which Gate adapts: '
            'choose a transformer, or LoRA, SoMA, Rein or EarthAdapter for a CNN'
        )
    # All are checked before the first changes, so that an error leaves the network as it was.
    rows = [_query_value_rows(block.attn) for block in found]
    for block, (query, value) in zip(found, rows, strict=True):
        layer: nn.Linear = block.attn.qkv
        spatial = _Spatial(layer.weight, query, value, rank)
        parametrize.register_parametrization(layer, 'weight', spatial)
        block.mlp = _Semantic(block.mlp, layer.in_features, width)


def gated_modules(module: nn.Module) -> dict[str, Gated]:
    """All modules of the toolbox by name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, Gated)}


def importance(
    gated: Mapping[str, Gated], losses: Callable[[], Iterable[Tensor]]
) -> dict[str, Tensor]:
    """Empirical Fisher information of each module, not yet normalised within its kind.

    `F = mean over samples of (∂ loss / ∂ ζ)²`, summed over the parameters ζ of a module. All
    modules are open during the measurement.

    Args:
        gated: The modules.
        losses: Gives the loss of each sample.

    Returns:
        Name → F, a scalar.
    """
    names = list(gated)
    sums = {name: torch.zeros_like(gated[name].opened) for name in names}
    before = {name: gated[name].opened.clone() for name in names}
    # a closed module has no gradient, so all are opened
    for part in gated.values():
        part.opened.fill_(1)
    given = [(name, p) for name in names for p in gated[name].own_parameters()]
    samples = 0
    try:
        for loss in losses():
            # backward() would add to the gradients of the training step.
            gradients = torch.autograd.grad(loss, [p for _, p in given], allow_unused=True)
            for (name, _), gradient in zip(given, gradients, strict=True):
                if gradient is not None:
                    sums[name] += gradient.detach().square().sum()
            samples += 1
    finally:
        for name in names:
            gated[name].opened.copy_(before[name])
    return {name: value / max(samples, 1) for name, value in sums.items()}


def choose(gated: Mapping[str, Gated], scores: Mapping[str, Tensor], top: int) -> list[str]:
    """Open the modules of the largest scores and close the others.

    Each score is first divided by the sum over the modules of its kind, because kinds differ in
    their number of parameters and the size of their gradients.

    Args:
        gated: The modules.
        scores: Result of `importance`.
        top: How many are open.

    Returns:
        Names of the open modules, the most important first.

    Raises:
        ConfigError: If there are fewer modules.
    """
    if not 1 <= top <= len(gated):
        raise ConfigError(f'top is {top}: expected 1 to {len(gated)}, the number of gated modules')
    totals: dict[str, Tensor] = {}
    for name, part in gated.items():
        totals[part.kind] = totals.get(part.kind, torch.zeros_like(scores[name])) + scores[name]
    # Where no module of a kind has any information, 0 / tiny leaves 0.
    share = {
        name: float(scores[name] / totals[part.kind].clamp(min=torch.finfo(torch.float32).tiny))
        for name, part in gated.items()
    }
    opened = sorted(gated, key=lambda name: -share[name])[:top]  # stable: ties keep their order
    for name, part in gated.items():
        part.opened.fill_(float(name in opened))
    return opened


def _query_value_rows(attention: nn.Module) -> tuple[Int64[Tensor, ' q'], Int64[Tensor, ' v']]:
    """Which rows of the layer `qkv` compute queries, and which values."""
    layer = getattr(attention, 'qkv', None)
    if isinstance(layer, nn.Linear) and isinstance(attention, TinyViTAttention):
        heads, key, value = attention.num_heads, attention.key_dim, attention.val_dim
        # TinyViT orders rows head by head; the others stack all queries, all keys and all values.
        rows = torch.arange(layer.out_features).view(heads, 2 * key + value)
        return rows[:, :key].flatten(), rows[:, 2 * key :].flatten()
    if isinstance(layer, nn.Linear) and isinstance(attention, _STACKED):
        query, _, values = torch.arange(layer.out_features).chunk(3)
        return query, values
    raise ConfigError(
        f'attention of {type(attention).__module__}.{type(attention).__name__} is not known to '
        'Gate, which has to distinguish the rows of queries from those of values: choose ViT, '
        'DINOv2, DINOv3, BEiT, SAM, Swin or TinyViT'
    )
