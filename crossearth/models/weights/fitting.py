"""Puts tensors into a module by name: all of them and nothing else, unless the caller allows it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from crossearth.errors import CheckpointError
from crossearth.models.weights.reading import require_finite, strip_prefix

__all__ = ['fit_weights', 'misfit', 'require_fit']


def fit_weights(
    model: nn.Module,
    given: Mapping[str, Tensor],
    *,
    source: str | Path,
    optional: Callable[[str], bool] = lambda _: False,
    strict: bool = True,
    advice: str = 'Choose the weights of this model and size',
) -> list[str]:
    """Put tensors into a module, in place, if they are those of this module.

    Args:
        model: Any module. Only the given tensors change.
        given: Name → tensor. A prefix such as `module.` is removed if names agree without it.
        source: Name of the file in error messages.
        optional: Whether the tensor with a given name may be missing or left over.
        strict: False allows missing and left-over tensors, as long as one is used.
        advice: Remedy for the error message if they do not fit.

    Returns:
        Names that were given and not used.

    Raises:
        CheckpointError: If tensors are missing, left over, of another shape or kind, or not finite.

    Example:
        >>> import torch
        >>> state = {'module.weight': torch.ones(1, 2), 'module.bias': torch.zeros(1)}
        >>> fit_weights(nn.Linear(2, 1), state, source='x.pth')
        []
        >>> fit_weights(nn.Linear(2, 1, bias=False), state, source='x.pth')
        Traceback (most recent call last):
            ...
        crossearth.errors.CheckpointError: x.pth does not fit Linear: 1 unknown (bias (1,)). ...
    """
    used, unused = require_fit(
        model, given, source=source, optional=optional, strict=strict, advice=advice
    )
    require_finite(used, source=source)
    # encoders of segmentation_models_pytorch override this method without `strict`
    nn.Module.load_state_dict(model, used, strict=False)
    return unused


def require_fit(
    model: nn.Module,
    given: Mapping[str, Tensor],
    *,
    source: str | Path,
    optional: Callable[[str], bool] = lambda _: False,
    strict: bool = True,
    advice: str = 'Choose the weights of this model and size',
) -> tuple[dict[str, Tensor], list[str]]:
    """The given tensors that belong to a module, by its names, and the names of the others.

    The arguments are those of `fit_weights`. The module stays as it is, and may be on the meta
    device, so that tensors can be compared with it before it takes any memory.

    Raises:
        CheckpointError: If tensors are missing, left over, or of another shape or kind.
    """
    wanted = model.state_dict()
    given = strip_prefix(given, wanted, source=source)
    used = {name: tensor for name, tensor in given.items() if name in wanted}
    reason = misfit(given, wanted, optional=optional, strict=strict)
    if reason or not used:
        raise CheckpointError(
            f'{source} does not fit {type(model).__name__}: {reason or "no name agrees"}. {advice}'
        )
    return used, [name for name in given if name not in used]


def misfit(
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    *,
    optional: Callable[[str], bool] = lambda _: False,
    strict: bool = True,
) -> str:
    """Why tensors do not fit a state, in words; empty if they do.

    Args:
        given: Name → tensor.
        wanted: State of the module.
        optional: See `fit_weights`. Counts of batches, which old files lack, are always optional.
        strict: See `fit_weights`.
    """
    missing, unknown = [], []
    if strict:
        # Older files lack num_batches_tracked, which only norms without a momentum read.
        missing = [
            name
            for name in wanted
            if name not in given and not optional(name) and not name.endswith('num_batches_tracked')
        ]
        unknown = [
            f'{name} {tuple(tensor.shape)}'
            for name, tensor in given.items()
            if name not in wanted and not optional(name)
        ]
    both = [name for name in wanted if name in given]
    shapes = [
        f'{name} {tuple(given[name].shape)} for {tuple(wanted[name].shape)}'
        for name in both
        if given[name].shape != wanted[name].shape
    ]
    kinds = [
        f'{name} {given[name].dtype} for {wanted[name].dtype}'
        for name in both
        if _kind(given[name]) != _kind(wanted[name])
    ]
    return '; '.join(
        f'{len(names)} {what} ({", ".join(names[:3])}{", …" if len(names) > 3 else ""})'
        for what, names in (
            ('missing', missing),
            ('unknown', unknown),
            ('of another shape', shapes),
            ('of another kind of number', kinds),
        )
        if names
    )


def _kind(tensor: Tensor) -> tuple[bool, bool]:
    """Whether it has fractions, and whether it is complex; no cast may change either."""
    return tensor.is_floating_point(), tensor.is_complex()
