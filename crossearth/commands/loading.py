"""Loads models for the command line, with builders that the user trusts."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.errors import ConfigError
from crossearth.spelling import did_you_mean

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    'add_builders',
    'add_loading',
    'load_runnable',
    'load_trusted',
    'model_id_of',
    'trusted_builder',
]


def add_loading(parser: argparse.ArgumentParser) -> None:
    """Add which builders are trusted, where frozen weights are, and where the model runs."""
    add_builders(parser)
    parser.add_argument(
        '--device',
        default='cpu',
        help='where the model runs, such as cpu, cuda or cuda:1 (default: %(default)s)',
    )


def add_builders(parser: argparse.ArgumentParser) -> None:
    """Add which builders are trusted, and where frozen weights are."""
    parser.add_argument(
        '--pretrained',
        metavar='PATH',
        help='file of the weights that stayed frozen in training, for models that leave them out '
        '(default: where training found it)',
    )
    parser.add_argument(
        '--builder',
        dest='builders',
        action='append',
        default=[],
        metavar='MODULE:FUNCTION',
        help='your own function that builds the model, from an installed module or one in the '
        'working folder; may be repeated. Weights files themselves never import anything.',
    )


def load_trusted(
    weights: str, device: str, builders: Sequence[str], folder: str, pretrained: str | None = None
) -> 'nn.Module':
    """Load the model, in this process or in a worker; only file names are sent to the workers."""
    from crossearth.models import load_model
    from crossearth.modes import moved_to

    trusted = [trusted_builder(name, folder) for name in builders]
    return moved_to(load_model(weights, pretrained=pretrained, builders=trusted), device)


def load_runnable(
    weights: str, device: str, builders: Sequence[str], folder: str, pretrained: str | None = None
) -> 'nn.Module':
    """Load a weights file, or a file that holds its own code, see `models.load_program`."""
    from crossearth.models import load_program

    if Path(weights).suffix == '.safetensors':
        return load_trusted(weights, device, builders, folder, pretrained)
    for option, given in (('--builder', next(iter(builders), None)), ('--pretrained', pretrained)):
        if given is not None:
            raise ConfigError(
                f'{option} {given}: {weights} is not a .safetensors file and contains its own '
                f'model: leave out {option}'
            )
    return load_program(weights, device=device)


def model_id_of(weights: str, builders: Sequence[str], folder: str) -> str:
    """A digest of a model's files: its weights and the modules of its builders."""
    from crossearth.models import program_digest

    digests = [program_digest(weights)]
    for name in builders:
        trusted_builder(name, folder)
        file = sys.modules[name.partition(':')[0]].__file__
        digests.append(f'{name} {program_digest(file) if file else ""}')
    return ' '.join(digests)


def trusted_builder(name: str, folder: str) -> Callable[..., 'nn.Module']:
    """A function that the user named on the command line, from `folder` or installed."""
    module_name, _, function_name = name.partition(':')
    is_name = all(part.isidentifier() for part in module_name.split('.'))
    if not (is_name and function_name.isidentifier()):
        raise ConfigError(
            f'--builder {name}: expected MODULE:FUNCTION, such as mine:build for the function '
            'build in mine.py'
        )
    if folder not in sys.path:
        sys.path.insert(0, folder)  # as `python -m` does; also serves imports that happen later
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        # the missing module is the builder's own, not one that it imports
        if error.name is not None and f'{module_name}.'.startswith(f'{error.name}.'):
            raise ConfigError(
                f'--builder {name}: there is no module {error.name} in {folder}, nor is one '
                'installed: check its name, or change to its folder'
            ) from error
        raise ConfigError(
            f'--builder {name}: {module_name} needs {error.name}, which is not installed: install '
            'it'
        ) from error
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f'--builder {name}: cannot be imported ({error})') from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(
            f'--builder {name}: {function_name} is not a function of {module.__file__}: expected '
            f'one that returns the model{did_you_mean(function_name, vars(module))}'
        )
    built: Callable[..., nn.Module] = function
    return built
