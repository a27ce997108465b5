"""Options that describe what a model returns."""

import argparse

__all__ = ['add_model_output', 'key_or_number']


def add_model_output(group: argparse._ArgumentGroup) -> None:
    """Add the arguments of `ModelOutput`, under the same names."""
    group.add_argument(
        '--output-kind',
        dest='kind',
        choices=['auto', 'logits', 'probabilities', 'logit', 'probability', 'ids'],
        help='what the model returns; logit and probability are one channel for a map of two '
        'classes (default: logits of two or more classes)',
    )
    group.add_argument(
        '--output-key',
        dest='key',
        type=key_or_number,
        help='entry to take from a dictionary or tuple (default: out, logits, or the only or first '
        'one)',
    )
    group.add_argument(
        '--threshold',
        type=float,
        help='for one channel: probability from which a pixel is class 1 (default: 0.5)',
    )
    group.add_argument(
        '--num-classes', type=int, help='number of classes, for ids without --labels'
    )


def key_or_number(text: str) -> str | int:
    """A number, or else a key of a dictionary or the name of a class."""
    return int(text) if text.isdecimal() else text
