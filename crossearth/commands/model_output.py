"""Options of commands that are told what a model gives."""

import argparse

__all__ = ['add_model_output', 'key_or_number']


def add_model_output(group: argparse._ArgumentGroup) -> None:
    """Add the arguments of `ModelOutput`, each under its name."""
    group.add_argument(
        '--output-kind',
        dest='kind',
        choices=['auto', 'logits', 'probabilities', 'logit', 'probability', 'ids'],
        help='logit and probability are one channel, of which a map of two classes is made '
        '(default: logits of two or more classes)',
    )
    group.add_argument(
        '--output-key',
        dest='key',
        type=key_or_number,
        help='entry of a dictionary or a tuple (default: out, logits, the only or the first one)',
    )
    group.add_argument(
        '--threshold',
        type=float,
        help='probability that makes one channel class 1 (default: .5)',
    )
    group.add_argument('--num-classes', type=int, help='of class ids, where no --labels say it')


def key_or_number(text: str) -> str | int:
    """A key of a dictionary or the name of a class, or a number."""
    return int(text) if text.isdigit() else text
