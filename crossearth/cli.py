"""The command line: `crossearth demo | fit | validate | test | predict | vectorize | …`.

Every command lives beside what it does, as a pair of functions: one declares its arguments, one
runs it. Its module is imported when the command is used, so that `--help` is instant.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from crossearth import __version__
from crossearth.errors import ConfigError, CrossEarthError

__all__ = ['main']


class _Command(NamedTuple):
    help: str
    module: str
    declare: str = 'add_arguments'
    run: str = 'run'


_COMMANDS = {
    'demo': _Command('the whole story on generated data', 'crossearth.demo'),
    'predict': _Command('map scenes with a trained model', 'crossearth.commands.predict'),
    'vectorize': _Command('turn a map into polygons', 'crossearth.commands.vectorize'),
    'style': _Command(
        'fit styles to a folder of pictures, preview them', 'crossearth.commands.style'
    ),
    'data': _Command(
        'published archives: what they hold, what a copy lacks', 'crossearth.commands.data'
    ),
    'benchmark': _Command('the settings of the RSDG benchmark', 'crossearth.commands.benchmark'),
    'weights': _Command('convert weights files, or show them', 'crossearth.models.weights_cli'),
}
_LIGHTNING = {
    'fit': 'train a model from a recipe',
    'validate': 'score a checkpoint on validation scenes',
    'test': 'score a checkpoint on the source and every unseen domain',
}
_LOGGERS = [
    {
        'class_path': f'lightning.pytorch.loggers.{kind}Logger',
        'init_args': {'save_dir': folder, 'name': name},
    }
    for kind, folder, name in (('CSV', '.', 'logs'), ('TensorBoard', 'logs', 'tensorboard'))
]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors of this library become one line and exit status 2.

    Args:
        argv: Words after the program's name; None for those of the process.

    Returns:
        Exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in _LIGHTNING:
            _run_lightning(None if argv is None else words)
        else:
            _run_command(words)
    except (CrossEarthError, OSError) as error:
        print(f'crossearth: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('crossearth: interrupted; files that were not finished are removed', file=sys.stderr)
        return 130
    return 0


def _run_command(words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog='crossearth',
        description='Segment remote-sensing images where no label was ever drawn.',
    )
    parser.add_argument('--version', action='version', version=f'crossearth {__version__}')
    choices = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for name, text in _LIGHTNING.items():
        choices.add_parser(name, help=text, add_help=False)
    for name, command in _COMMANDS.items():
        subparser = choices.add_parser(name, help=command.help)
        if words and words[0] == name:
            module = import_module(command.module)
            getattr(module, command.declare)(subparser)
            subparser.set_defaults(run=getattr(module, command.run))
    arguments = parser.parse_args(words)
    report = arguments.run(arguments)
    if isinstance(report, str):
        print(report)


def _run_lightning(words: list[str] | None) -> None:
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

    from crossearth.datasets import ShiftDataModule
    from crossearth.trainers import (
        DomainGeneralizationTask,
        LogPictures,
        check_checkpoint,
        score_table,
    )

    class Line(LightningCLI):
        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            parser.add_lightning_class_args(LogPictures, 'pictures')

        def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
            super().parse_arguments(parser, args)
            # A checkpoint may come from anywhere: it holds tensors and numbers, and no code is run.
            words = self.config[self.config.subcommand]
            words['weights_only'] = True
            if self.config.subcommand == 'test':
                words['verbose'] = False  # one table for all domains is printed instead
            if words.get('ckpt_path') not in {None, 'best', 'last', 'hpc'}:
                check_checkpoint(words['ckpt_path'])

        def _parse_ckpt_path(self) -> None:
            """The recipe builds the model; lightning would rebuild it from the checkpoint."""

        def after_test(self) -> None:
            if self.trainer.is_global_zero:
                print(score_table(self.model.confusion, self.model.labels))

    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*does not have many workers')
        warnings.filterwarnings('ignore', message='Found .* in eval mode')  # frozen on purpose
        warnings.filterwarnings('ignore', message='Total length of .list. across ranks')
        warnings.filterwarnings('ignore', message='.*LeafSpec')  # lightning's use of torch
        try:
            Line(
                DomainGeneralizationTask,
                ShiftDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                trainer_defaults={'use_distributed_sampler': False, 'logger': _LOGGERS},
                save_config_kwargs={'overwrite': True},
                parser_kwargs={
                    'exit_on_error': False,
                    **{name: {'exit_on_error': False} for name in _LIGHTNING},
                },
                args=words,
            )
        except (argparse.ArgumentError, TypeError, ValueError) as error:
            raise (_own_cause(error) or error) from error
        except MisconfigurationException as error:
            raise (_own_cause(error) or ConfigError(' '.join(str(error).split()))) from error


def _own_cause(error: BaseException) -> CrossEarthError | None:
    """The error of this library that the parser of recipes wrapped into its own, if any."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, CrossEarthError):
        cause = cause.__cause__ or cause.__context__
    if cause is None and isinstance(error, argparse.ArgumentError | UnicodeDecodeError):
        return ConfigError(' '.join(str(error).split()))
    return cause


if __name__ == '__main__':
    sys.exit(main())
