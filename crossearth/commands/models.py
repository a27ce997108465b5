"""`crossearth models list | info`: models that have a builder, and foundation encoders."""

import argparse
from typing import TYPE_CHECKING

from crossearth.errors import ConfigError
from crossearth.spelling import did_you_mean

if TYPE_CHECKING:
    from crossearth.models import EncoderSummary, ModelSummary

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    table = actions.add_parser(
        'list',
        help='list every model with its parts and its size',
        description='List every model with its parts and its size, and every foundation encoder.',
    )
    one = actions.add_parser(
        'info',
        help='show one model with its paper and weights',
        description='Show one model: its parts, its size, its paper and its weights.',
    )
    one.add_argument(
        'name',
        nargs='+',
        help='its name in the list, such as fpn_timm, or adapted_fpn adapter=lora',
    )
    for action in (table, one):
        action.add_argument(
            '--classes',
            type=int,
            default=6,
            metavar='N',
            help='number of classes (default: %(default)s)',
        )


def run(arguments: argparse.Namespace) -> str:
    """A table of the models and encoders with their inputs and origin; or one model.

    Raises:
        ConfigError: If the number of classes is not positive, or there is no such model.
    """
    from crossearth.columns import align_columns
    from crossearth.models import list_encoders, list_models

    models = list_models(arguments.classes)
    if arguments.action == 'info':
        name = ' '.join(arguments.name)
        chosen = [model for model in models if name in (model.name, _call(model))]
        known = {encoder.name: encoder for encoder in list_encoders()}
        if name in known:
            return _about_encoder(known[name])
        if not chosen:
            names = list(dict.fromkeys([*(m.name for m in models), *map(_call, models), *known]))
            raise ConfigError(
                f'{name}: no such model; expected one of {", ".join(names)}'
                f'{did_you_mean(name, names)}'
            )
        return '\n'.join(
            f'{_origin(model)}\n  parameters {_millions(model.parameters)}, '
            f'{_millions(model.trained_parameters)} trained'
            for model in chosen
        )
    head = ['model', 'backbone', 'adapter', 'decoder', 'parameters', 'trained']
    table = align_columns([head, *(_row(model) for model in models)], left=4)
    encoders = list_encoders()
    head = ['encoder', 'takes', 'bands', 'weights for', 'licence of weights', 'parameters']
    rows = align_columns([head, *(_encoder_row(encoder) for encoder in encoders)], left=5)
    return '\n'.join(
        [
            *(table, '', *(_origin(model) for model in models)),
            *('', 'name=… of foundation_fpn and foundation_crossearth:', rows),
            *('', *(_published(encoder) for encoder in encoders if encoder.library == 'torchgeo')),
        ]
    )


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
    """The builder, with the arguments that select one of its models."""
    return ' '.join([model.name, *(f'{key}={value}' for key, value in model.arguments.items())])


def _encoder_row(encoder: 'EncoderSummary') -> list[str]:
    return [
        encoder.name,
        ', '.join(encoder.takes) or '-',
        encoder.bands,
        encoder.trained_on,
        encoder.licence,
        _millions(encoder.parameters),
    ]


def _about_encoder(encoder: 'EncoderSummary') -> str:
    name, takes, bands, trained_on, licence, parameters = _encoder_row(encoder)
    return '\n'.join(
        [
            f'{name} of foundation_fpn and foundation_crossearth',
            f'  takes      {takes}',
            f'  bands      {bands}',
            f'  weights    for {trained_on}, {licence}: {", ".join(encoder.weights) or "none"}',
            f'  parameters {parameters}',
        ]
    )


def _published(encoder: 'EncoderSummary') -> str:
    return f'{encoder.name}\n  pretrained {", ".join(encoder.weights) or "none published"}'


def _millions(count: int) -> str:
    return f'{count / 1e6:.1f} M'
