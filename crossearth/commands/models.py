"""`crossearth models list`: every model that has a builder, with its parts and its size."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossearth.models import ModelSummary

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    table = actions.add_parser('list', help='every model, with its parts and its size')
    table.add_argument('--classes', type=int, default=6, metavar='N', help='classes to tell (6)')


def run(arguments: argparse.Namespace) -> str:
    """A table of the models, then what each takes and where it comes from.

    Raises:
        ConfigError: If the number of classes is not positive.
    """
    from crossearth.columns import align_columns
    from crossearth.models import list_models

    models = list_models(arguments.classes)
    head = ['model', 'backbone', 'adapter', 'decoder', 'parameters', 'trained']
    table = align_columns([head, *(_row(model) for model in models)], left=4)
    return '\n'.join([table, '', *(_origin(model) for model in models)])


def _row(model: 'ModelSummary') -> list[str]:
    return [
        _call(model),
        model.backbone.partition(',')[0],
        model.adapter or '-',
        model.decoder,
        _millions(model.parameters),
        _millions(model.trained_parameters),
    ]


def _origin(model: 'ModelSummary') -> str:
    weights = '\n'.join(f'  weights {name}' for name in model.weights)
    return (
        f'{_call(model)}\n  backbone {model.backbone}\n  input {model.input}\n'
        f'  paper {model.paper}\n{weights}'
    )


def _call(model: 'ModelSummary') -> str:
    """The builder, and the arguments that choose among its models."""
    return ' '.join([model.name, *(f'{key}={value}' for key, value in model.arguments.items())])


def _millions(count: int) -> str:
    return f'{count / 1e6:.1f} M'
