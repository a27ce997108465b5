"""Names of a package that are imported when they are first used (PEP 562).

A package that says what it offers in this way is imported in milliseconds, although what it offers
needs PyTorch. It imports the same names under `TYPE_CHECKING`, for editors and type checkers.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ['lazy_names']


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]], *, subpackages: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package.

    Args:
        package: Its full name.
        modules: Module → names that the package offers from it.
        subpackages: Its subpackages that are imported when they are first used.

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
        setattr(sys.modules[package], name, value)  # found without this function from now on
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *sources, *subpackages})

    return find, names
