"""`crossearth benchmark show`: one setting in full."""

import argparse

from crossearth.errors import ConfigError

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.add_argument('name', help="abbreviation of a setting, such as 'P(i)2V'")


def run(arguments: argparse.Namespace) -> str:
    """Data, protocol, masking and published scores of a setting.

    Raises:
        ConfigError: If the setting does not exist.
    """
    from crossearth.benchmark import SETTINGS, Protocol

    if arguments.name not in SETTINGS:
        raise ConfigError(
            f'no setting is named {arguments.name!r}: expected one of {", ".join(SETTINGS)}'
        )
    setting = SETTINGS[arguments.name]
    labels = setting.source.labels
    lines = [
        f'{setting.name}: {setting.source.name} -> {setting.target.name}, gap {setting.gap}',
        f'chips of {setting.chip_px}: {setting.n_train} to train, {setting.n_test} images to test',
        f'tested on: {Protocol.of(setting)}',
        f'classes of {labels.name}: {", ".join(labels.classes)}; score: {setting.metric}',
    ]
    lines += [
        f'{name} image: tau {masking.tau}, patches of {masking.patch_px} px'
        for name, masking in (('styled', setting.styled), ('masked', setting.masked))
    ]
    lines += [
        f'loss of the masked flow: {setting.mim_loss}',
        f'released checkpoints: {", ".join(setting.checkpoints) or "none"}',
        'published, in percent:',
    ]
    for method, result in setting.reported.items():
        classes = ', '.join(f'{name} {iou:.1f}' for name, iou in result.per_class.items())
        lines.append(f'  {method:10} {result.miou:5.1f}  {classes}'.rstrip())
    if setting.adapted:
        lines.append('published on adaptation, with unlabelled images of the target:')
    for method, result in setting.adapted.items():
        classes = ', '.join(f'{name} {iou:.1f}' for name, iou in result.per_class.items())
        lines.append(f'  {method:12} {result.miou:5.1f}  {classes}'.rstrip())
    lines += [f'note: {note}' for note in setting.notes]
    return '\n'.join(lines)
