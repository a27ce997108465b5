"""Names of a package that are imported only when they are first used (PEP 562).

A package that lists its names this way is imported in milliseconds, even if the names need PyTorch.
It also imports them under `TYPE_CHECKING`, for editors and type checkers.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ['lazy_names']


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]], *, subpackages: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` functions of a package.

    Args:
        package: Full name of the package.
        modules: Module → names that the package offers from it.
        subpackages: Subpackages that are imported when they are first used.

    Example:
        >>> find, names = lazy_names('crossearth', {'crossearth.labels': ['ISPRS']})
        >>> find('ISPRS').num_classes, 'ISPRS' in names()
        (6, True)
        >>> find('ISPRSS')
        Traceback (most recent call last):
        AttributeError: module 'crossearth' has no attribute 'ISPRSS'
    """
    sources = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> Any:
        if name in subpackages:
            return import_module(f'{package}.{name}')
        if name not in sources:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        value = getattr(import_module(sources[name]), name)
        setattr(sys.modules[package], name, value)  # from now on it is found without this function
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *sources, *subpackages})

    return find, names
