"""Objects that a user names as `module:name`, on the command line or in a file they run."""

from importlib import import_module
from typing import Any

from crossearth.errors import ConfigError

__all__ = ['import_named']


def import_named(path: str) -> Any:
    """The object that a user names as `module:name`.

    Use this only for what users type or run themselves. Names from untrusted files, such as
    weights, must never reach this function.

    Args:
        path: `'module:name'`.

    Raises:
        ConfigError: If there is no such module or name.

    Example:
        >>> import_named('math:pi')
        3.141592653589793
    """
    module, sign, name = path.partition(':')
    if not (sign and module and name):
        raise ConfigError(f'got {path!r}: expected module:name, such as mine:Berlin')
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'{path}: there is no module {error.name!r}; expected a file {module}.py in the '
            'working folder or next to the file that names it, or an installed module'
        ) from error
    except AttributeError as error:
        raise ConfigError(f'{path}: the module {module} has no {name!r}') from error
