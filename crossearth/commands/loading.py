"""Models that the command line loads, with the builders that its user trusts."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from crossearth.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

__all__ = ['add_loading', 'load_trusted', 'trusted_builder']


def add_loading(parser: argparse.ArgumentParser) -> None:
    """Which builders are trusted, and where the model runs."""
    parser.add_argument(
        '--builder',
        dest='builders',
        action='append',
        default=[],
        metavar='MODULE:FUNCTION',
        help='function of yours that you trust to build the model, from a module in the working '
        'folder or installed; may be repeated. A weights file imports nothing.',
    )
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1 (default: %(default)s)')


def load_trusted(weights: str, device: str, builders: Sequence[str], folder: str) -> 'nn.Module':
    """The model, in this process or in a worker; only names are sent there."""
    from crossearth.models import load_model
    from crossearth.modes import moved_to

    trusted = [trusted_builder(name, folder) for name in builders]
    return moved_to(load_model(weights, builders=trusted), device)


def trusted_builder(name: str, folder: str) -> Callable[..., 'nn.Module']:
    """A function that the user named on the command line, in `folder` or installed."""
    module_name, _, function_name = name.partition(':')
    is_name = all(part.isidentifier() for part in module_name.split('.'))
    if not (is_name and function_name.isidentifier()):
        raise ConfigError(
            f'--builder {name}: expected MODULE:FUNCTION, such as mine:build for the function '
            'build in mine.py'
        )
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as `python -m` does; for what the module imports later, too
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f'{module_name}.'.startswith(f'{error.name}.'):
            raise ConfigError(
                f'--builder {name}: there is no module {error.name} in {folder}, nor installed: '
                'check its name, or change to its folder'
            ) from error
        raise ConfigError(f'--builder {name}: {module_name} needs {error.name}') from error
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f'--builder {name}: cannot be imported ({error})') from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(
            f'--builder {name}: {function_name} is not a function of {module.__file__}: expected '
            'one that returns the model'
        )
    built: Callable[..., nn.Module] = function
    return built
