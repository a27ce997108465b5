"""The contract between backbones and the adapters that refine their features."""

import inspect
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError

__all__ = ['Adapter', 'check_adapter']

_CONTRACT = (
    'an adapter is a torch module with `depth`, the number of blocks that it refines; '
    '`forward(features, layer, grid)`, which returns features (b, n, c) of the same shape for the '
    'block `layer`, whose patches have `grid` rows and columns; and `queries()`, which returns '
    'object queries (m, d) or None'
)


@runtime_checkable
class Adapter(Protocol):
    """What a backbone requires of an adapter: a torch module with these three members."""

    depth: int

    def __call__(
        self, features: Float[Tensor, 'b n c'], layer: int, grid: tuple[int, int]
    ) -> Float[Tensor, 'b n c']:
        """Refined patch features of the block `layer`, counted from 0.

        `grid` is the number of rows and columns of the patches, which are ordered row by row.
        """
        ...

    def queries(self) -> Float[Tensor, 'm d'] | None:
        """Object queries for the decoder, or None where the adapter has none."""
        ...


def check_adapter(adapter: object, depth: int) -> None:
    """Raise if an adapter lacks part of the contract or was built for another transformer.

    Args:
        adapter: The adapter that was passed.
        depth: Number of blocks of the transformer.

    Raises:
        ConfigError: If a part is missing or takes other arguments; the message states the
            contract.

    Example:
        >>> check_adapter(nn.Linear(2, 2), 12)
        Traceback (most recent call last):
        crossearth.errors.ConfigError: Linear lacks `depth` and `queries`: an adapter is ...
    """
    name = type(adapter).__name__
    given: Any = adapter  # not yet known to be an adapter
    if not isinstance(adapter, nn.Module):
        raise ConfigError(f'{name} is not a torch module: {_CONTRACT}')
    lacking = [part for part in ('depth', 'queries') if not hasattr(adapter, part)]
    if type(adapter).forward is nn.Module.forward:
        lacking.append('forward')
    if lacking:
        raise ConfigError(f'{name} lacks {" and ".join(f"`{p}`" for p in lacking)}: {_CONTRACT}')
    try:
        inspect.signature(given.forward).bind(None, 0, (1, 1))
    except TypeError as error:
        raise ConfigError(f'`forward` of {name} takes other arguments: {_CONTRACT}') from error
    if not callable(given.queries):
        raise ConfigError(f'`queries` of {name} is not a method: {_CONTRACT}')
    if given.depth != depth:
        raise ConfigError(
            f'the adapter has {given.depth} layers, the transformer {depth} blocks: build '
            f'the adapter with depth={depth}'
        )
