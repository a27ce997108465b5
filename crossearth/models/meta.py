"""Models without weights, for what their structure alone tells."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ['without_weights']

_FILLING = frozenset(
    {'uniform_', 'normal_', 'erfinv_', 'mul_', 'add_', 'clamp_', 'fill_', 'zero_', 'trunc_normal_'}
)


@contextmanager
def without_weights() -> Iterator[None]:
    """Build modules on torch's meta device, where weights take neither memory nor time."""
    with torch.device('meta'), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills weights.

    Even on the meta device torch works out the shape of each such operation, in Python, which would
    take most of the time.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],  # torch's signature
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        given = dict(kwargs or {})
        if getattr(func, '__name__', '') in _FILLING:
            filled = args[0] if args else given['tensor']
            # Buffers may be built elsewhere, with values that are read.
            if filled.is_meta:
                return filled
        return func(*args, **given)
