"""How a model was built, recorded while it is built so that a weights file can contain it.

A builder is a function of plain arguments that returns a complete model. `@builder` notes its name
and arguments on every model that it makes, and the file holds both, but no code. On loading, the
name chooses among the builders of this library and those that the reader passes. It never imports
anything.
"""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, overload

from torch import nn

from crossearth.errors import ConfigError

__all__ = ['Blueprint', 'blueprint_of', 'builder', 'builder_name', 'find_builder', 'own_builders']

_OWN_MODULES = tuple(
    f'crossearth.models.{name}' for name in ('builders', 'adapted', 'foundation', 'rivals')
)
_OWN: dict[str, Callable[..., nn.Module]] = {}  # filled once, when these modules are imported


@dataclass(frozen=True, slots=True)
class Blueprint:
    """How a model was built: enough to build it again.

    Args:
        builder: Name of the builder: `fpn_timm` for those of this library, `module:function` for
            others.
        arguments: Its arguments, as JSON can hold them.
    """

    builder: str
    arguments: dict[str, Any] = field(default_factory=dict)


@overload
def builder[**P, M: nn.Module](function: Callable[P, M]) -> Callable[P, M]: ...
@overload
def builder[**P, M: nn.Module](
    *, forget: Collection[str]
) -> Callable[[Callable[P, M]], Callable[P, M]]: ...
def builder(
    function: Callable[..., nn.Module] | None = None, *, forget: Collection[str] = ()
) -> Any:
    """Make a function record its arguments on the model that it returns, for `save_model`.

    Args:
        function: Returns a new model. Its arguments should be JSON values (numbers, text, lists,
            None) or paths; models of others cannot be saved.
        forget: Arguments that are not recorded, so that a loaded model is built with their
            defaults. Use it for what depends on the machine or is in the file anyway.

    Returns:
        The function, which works as before.

    Raises:
        ConfigError: If an argument cannot be passed by name, such as `*args`.

    Example:
        >>> from crossearth.models import Segmenter
        >>> from crossearth.models.backbones import TimmPyramid
        >>> from crossearth.models.decoders import FPNDecoder
        >>> from crossearth.models.weights.pretrained import create_timm
        >>> @builder
        ... def narrow(num_classes: int, *, width: int = 8) -> Segmenter:
        ...     backbone = TimmPyramid(create_timm('resnet10t'))
        ...     decoder = FPNDecoder(backbone.channels, num_classes, width=width)
        ...     return Segmenter(backbone, decoder, mean=[0.5] * 3, std=[0.25] * 3)
        >>> narrow(2).blueprint.arguments
        {'num_classes': 2, 'width': 8}
    """
    if function is None:
        return functools.partial(builder, forget=forget)
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            raise ConfigError(
                f'builder {function.__qualname__} takes {parameter.name!r}, which cannot be '
                'recorded by name: make it an argument that can be passed by name'
            )
    name = builder_name(function)

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> nn.Module:
        model = function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments: dict[str, Any] = {}
        for parameter, value in bound.arguments.items():
            if signature.parameters[parameter].kind is inspect.Parameter.VAR_KEYWORD:
                arguments |= _plain(value)
            elif parameter not in forget:
                arguments[parameter] = _plain(value)
        # setattr, because torch's types allow only tensors and modules as attributes
        setattr(model, 'blueprint', Blueprint(name, arguments))  # noqa: B010
        return model

    if function.__module__ in _OWN_MODULES:
        _OWN[name] = build
    return build


def builder_name(function: Callable[..., Any]) -> str:
    """The name of a builder in files.

    Example:
        >>> from crossearth.models import fpn_timm
        >>> builder_name(fpn_timm), builder_name(nn.Linear)
        ('fpn_timm', 'torch.nn.modules.linear:Linear')
    """
    if function.__module__ in _OWN_MODULES:
        return function.__name__
    return f'{function.__module__}:{function.__qualname__}'


def own_builders() -> Mapping[str, Callable[..., nn.Module]]:
    """Builders of this library by name, sorted; every reader trusts them."""
    for module in _OWN_MODULES:
        import_module(module)
    return dict(sorted(_OWN.items()))


def blueprint_of(model: object) -> Blueprint | None:
    """How a model was built, or None if nothing recorded it."""
    blueprint = getattr(model, 'blueprint', None)
    return blueprint if isinstance(blueprint, Blueprint) else None


def find_builder(
    name: str, trusted: Sequence[Callable[..., nn.Module]] = ()
) -> Callable[..., nn.Module]:
    """The builder that a file names, among those of this library and those the reader trusts.

    Args:
        name: Name from a file, which may contain anything; nothing is imported for it.
        trusted: Builders that the reader passes, with or without `@builder`.

    Raises:
        ConfigError: If it is not among them; the message states what to pass.

    Example:
        >>> find_builder('narrow:build')
        Traceback (most recent call last):
        crossearth.errors.ConfigError: names the builder 'narrow:build', which is not part of ...
    """
    for function in trusted:
        if _same(name, builder_name(function)):
            return function
    own = own_builders()
    if name in own:
        return own[name]
    module, _, function_name = name.partition(':')
    named = function_name.isidentifier() and all(map(str.isidentifier, module.split('.')))
    if not named:
        raise ConfigError(
            f'names the builder {name!r}, expected one of {", ".join(own)}: the file was written '
            'by another version of this library, so use that version'
        )
    given = ', '.join(map(builder_name, trusted))
    passed = f' (you passed {given})' if given else ''
    raise ConfigError(
        f'names the builder {name!r}, which is not part of crossearth{passed}: if you trust it, '
        f'import it (from {module} import {function_name}) and pass builders=[{function_name}], '
        f'or --builder {name} on the command line'
    )


def _same(name: str, other: str) -> bool:
    """Whether two names mean one function; a script that is run calls its own module __main__."""
    (module, _, function), (other_module, _, other_function) = (
        name.partition(':'),
        other.partition(':'),
    )
    known = module == other_module or (function and '__main__' in (module, other_module))
    return bool(known) and function == other_function


def _plain(value: Any) -> Any:
    """A value as JSON stores it, if it can; other values are refused when the model is saved."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    return value
