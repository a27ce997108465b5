"""Adapters for CNNs and hierarchical transformers: one after each of the four stages."""

from collections.abc import Callable, Iterable

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.adapters.contract import Adapter, check_adapter
from crossearth.models.adapters.layers import Stage

__all__ = ['RefinedStage', 'refine_stages']


class RefinedStage(nn.Module):
    """A stage of a network, followed by an adapter that sees its feature map as tokens, row by row.

    Args:
        stage: Module of the network that returns a feature map.
        adapter: Adapter for one block, of the width of the map.
        place: Name and shape of the stage.

    Raises:
        ConfigError: If the adapter is not for one block, or links queries. When called, if the
            stage does not return maps of this width, or the adapter changes their shape.
    """

    def __init__(self, stage: nn.Module, adapter: Adapter, place: Stage) -> None:
        super().__init__()
        check_adapter(adapter, 1)
        if adapter.queries() is not None:
            raise ConfigError(
                f'{type(adapter).__name__} links queries, but no decoder reads them from a stage: '
                'build it with link_queries=False'
            )
        self.stage = stage
        self.adapter = adapter
        self.place = place

    def forward(self, *inputs: Float[Tensor, '...']) -> Float[Tensor, 'b _ _ _']:
        """The refined map, with the axes in the order of the stage."""
        features = self.stage(*inputs)
        last = self.place.channels_last
        if (
            not isinstance(features, Tensor)
            or features.ndim != 4
            or features.shape[-1 if last else 1] != self.place.channels
        ):
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ConfigError(
                f'the stage {self.place.name} ({type(self.stage).__name__}) gives {got}, expected '
                f'maps of {self.place.channels} channels: adapters of features need a backbone '
                'whose stages return maps; use LoRA or SoMA, which change weights'
            )
        order = 'b rows cols c' if last else 'b c rows cols'
        rows, cols = features.shape[1:3] if last else features.shape[2:]
        seen = rearrange(features, f'{order} -> b (rows cols) c')
        tokens = self.adapter(seen, 0, (rows, cols))
        if not isinstance(tokens, Tensor) or tokens.shape != seen.shape:
            got = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
            raise ConfigError(
                f'{type(self.adapter).__name__} returned {got} for tokens {tuple(seen.shape)}: an '
                'adapter must keep the shape'
            )
        return rearrange(tokens, f'b (rows cols) c -> {order}', rows=rows, cols=cols)


def refine_stages(
    network: nn.Module, stages: Iterable[Stage], make: Callable[[int, int], Adapter]
) -> None:
    """Put an adapter after each stage of a network, in place; later stages see refined features.

    Stages differ in width, so each has its own adapter of depth 1. What adapters share between the
    blocks of a plain transformer, such as the layers of Rein, is not shared between stages.

    Args:
        network: Built by timm. Freeze what should stay frozen beforehand.
        stages: Result of `pyramid_stages`.
        make: Depth and width → adapter without queries, such as
            `lambda depth, dim: LoRARein(depth, dim, link_queries=False)`.

    Raises:
        ConfigError: If `make` returns anything else, or a stage is a list of blocks.

    Example:
        >>> import timm, torch
        >>> from crossearth.models.adapters import Rein, pyramid_stages
        >>> network = timm.create_model('resnet10t').requires_grad_(False)
        >>> refine_stages(network, pyramid_stages(network),
        ...               lambda depth, dim: Rein(depth, dim, tokens=4, link_queries=False))
        >>> network.layer2.adapter.learnable_tokens.shape
        torch.Size([1, 4, 128])
    """
    for place in stages:
        if isinstance(network.get_submodule(place.name), nn.ModuleList):
            raise ConfigError(
                f'{place.name} of {type(network).__name__} is a list of blocks, which cannot be '
                'followed by an adapter of features: use LoRA or SoMA, which change weights'
            )
        parent, _, name = place.name.rpartition('.')
        refined = RefinedStage(network.get_submodule(place.name), make(1, place.channels), place)
        setattr(network.get_submodule(parent), name, refined)
