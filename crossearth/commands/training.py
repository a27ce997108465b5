"""`crossearth fit | validate | test`: train and score from a recipe, with Lightning's own parser.

A `class_path` in a recipe may name a module next to the recipe, or in the working folder.
"""

import argparse
import inspect
import itertools
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from crossearth.commands.importing import importable
from crossearth.errors import ConfigError, CrossEarthError
from crossearth.spelling import did_you_mean

__all__ = ['HELP', 'run']

HELP = {
    'fit': 'train a model from a recipe',
    'validate': 'score a checkpoint on validation scenes',
    'test': 'score a checkpoint on the source and every unseen domain',
}
"""Help line of each command."""

_ADVERTS = '💡 Tip: For seamless'  # Lightning's, of its other packages

_KEYS = (
    'seed_everything',
    'trainer',
    'pictures',
    'model',
    'data',
    'optimizer',
    'lr_scheduler',
    'ckpt_path',
    'weights_only',
    'verbose',
)
_PACKAGES = ('crossearth', 'kornia', 'lightning', 'timm', 'torch', 'torchgeo')

_LOGGERS = [
    {
        'class_path': f'lightning.pytorch.loggers.{kind}Logger',
        'init_args': {'save_dir': folder, 'name': name},
    }
    for kind, folder, name in (('CSV', '.', 'logs'), ('TensorBoard', 'logs', 'tensorboard'))
]


_UNTRAINED = (
    'note: without --ckpt_path this is the model as the recipe builds it, before any training; for '
    'what training has learnt, add --ckpt_path last.ckpt'
)


def run(arguments: argparse.Namespace) -> None:
    """Train or score, and print progress.

    Args:
        arguments: `words` holds the words of the command line, with the command first.

    Raises:
        CrossEarthError: If the recipe, a checkpoint or a scene is wrong. The message says what to
            do.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from crossearth.trainers.notices import EXPECTED

    words: list[str] = arguments.words
    logging.getLogger('lightning.pytorch.utilities.rank_zero').addFilter(_is_news)
    with warnings.catch_warnings(), importable(_recipe_folders(words)) as folders:
        for message in ('LightningCLI.s args parameter', *EXPECTED):
            warnings.filterwarnings('ignore', message=message)
        try:
            _run_lightning(words)
        except (argparse.ArgumentError, TypeError, ValueError, MisconfigurationException) as error:
            raise (_plain_error(error, folders) or error) from error


def _is_news(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_ADVERTS)


def _run_lightning(words: list[str]) -> None:
    from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

    from crossearth.datasets import ShiftDataModule
    from crossearth.trainers import (
        LogPictures,
        TrainingTask,
        check_checkpoint,
        score_table,
        seed_parts,
    )

    class Line(LightningCLI):
        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            parser.add_lightning_class_args(LogPictures, 'pictures')

        def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
            super().parse_arguments(parser, args)
            # A checkpoint may come from anywhere, so only tensors and numbers are read and no code
            # runs. `SealCheckpoints` checks again, and if it is damaged resumes from the previous.
            given = self.config[self.config.subcommand]
            given['weights_only'] = True
            if self.config.subcommand == 'test':
                given['verbose'] = False  # we print one table for all domains instead
            named = given.get('ckpt_path') not in {None, 'best', 'last', 'hpc'}
            if named and self.config.subcommand != 'fit':
                check_checkpoint(given['ckpt_path'])

        def before_instantiate_classes(self) -> None:
            seed_parts(self.parser, self.config.as_dict()[self.config.subcommand]['model'])

        def _parse_ckpt_path(self) -> None:
            """Do nothing: the recipe builds the model; Lightning would use the checkpoint's."""

        def after_test(self) -> None:
            if self.trainer.is_global_zero:
                print(score_table(self.model.confusion, self.model.labels))
                if self.config.test.ckpt_path is None:
                    print(_UNTRAINED)
                if self.datamodule.adaptation:
                    seen = ', '.join(self.datamodule.adapted) or 'none of them'
                    print(
                        'adaptation, not domain generalisation: the recipe has a target. Of the '
                        f'tested domains, training may see unlabelled images of {seen}'
                    )

    Line(
        TrainingTask,
        ShiftDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        # the samplers of the data module already share windows out among processes
        trainer_defaults={'use_distributed_sampler': False, 'logger': _LOGGERS},
        # otherwise a second run in the same folder fails, because its config.yaml exists
        save_config_kwargs={'overwrite': True},
        parser_kwargs={
            # errors are raised instead of printed, so that `_plain_error` can shorten them
            'exit_on_error': False,
            **{name: {'exit_on_error': False} for name in HELP},
        },
        args=words,
    )


def _plain_error(error: BaseException, folders: Sequence[str]) -> CrossEarthError | None:
    """The complaint of the recipe parser, or of what it called, in one line; None for other errors.

    The parser wraps the first cause many times, and repeats the whole recipe each time.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from crossearth.trainers.parser_errors import complaint

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    first = causes[-1]
    ours = next((cause for cause in causes if isinstance(cause, CrossEarthError)), None)
    if ours is not None:
        return ours
    if isinstance(first, ModuleNotFoundError):
        return _no_module(str(first.name), folders)
    if isinstance(first, AttributeError) and isinstance(first.obj, ModuleType):
        return _no_name(first.obj, str(first.name))
    told = _wrong_path(f'{error} {first}', folders) or _misspelt(str(error), folders)
    if told is not None:
        return told
    if isinstance(error, argparse.ArgumentError | UnicodeDecodeError | MisconfigurationException):
        return ConfigError(complaint(error))
    return None


def _no_module(name: str, folders: Sequence[str]) -> ConfigError:
    return ConfigError(
        f'the recipe needs the module {name!r}, which was found neither in '
        f'{" nor in ".join(folders)} (folder of the recipe, working folder) nor among the '
        'installed packages: put it into one of these, or correct the class_path'
        f'{did_you_mean(name, _PACKAGES)}'
    )


def _no_name(module: ModuleType, name: str) -> ConfigError:
    place = getattr(module, '__file__', None) or module.__name__
    near = did_you_mean(name, dir(module))
    return ConfigError(f'{place} has no {name!r}: correct the class_path in the recipe{near}')


def _wrong_path(text: str, folders: Sequence[str]) -> ConfigError | None:
    """The error of a class_path that leads nowhere, or to the wrong kind; None for others.

    Where a list of parts is expected, the parser keeps only the text of the first cause.
    """
    text = ' '.join(text.split())
    module = re.search(r"Problem with given class_path '[^']+': No module named '([^']+)'", text)
    if module is not None:
        return _no_module(module[1], folders)
    name = re.search(r"given class_path '[^']+': module '([^']+)' has no attribute '([^']+)'", text)
    if name is not None:
        with importable(folders):
            return _no_name(import_module(name[1]), name[2])
    kind = re.search(r'Import path (\S+) does not correspond to a subclass of (\w+)', text)
    if kind is None:
        return None
    return ConfigError(
        f'{kind[1]} is not a subclass of {kind[2]}, nor a function that promises one: expected a '
        f'class derived from {kind[2]}, or a function with a return annotation, such as '
        f'def build(...) -> {kind[2]}'
    )


def _misspelt(text: str, folders: Sequence[str]) -> ConfigError | None:
    """The error of a key that nothing takes, with the nearest that there is; None for others."""
    argument = re.search(r"Option '([^']+)' is not accepted", text)
    if argument is not None:
        owners = re.findall(r"class_path '([^']+)'", text[: argument.start()])
        if owners:
            known = inspect.signature(_named(owners[-1], folders)).parameters
            return ConfigError(
                f'{owners[-1]} has no argument {argument[1]!r}: expected some of '
                f'{", ".join(known)}{did_you_mean(argument[1], known)}'
            )
    key = re.search(r"does not accept option '([^']+)'", text)
    if key is None:
        return None
    first, _, second = key[1].partition('.')
    if first == 'trainer':
        from lightning.pytorch import Trainer

        taken = list(inspect.signature(Trainer).parameters)
        name = second.partition('.')[0]
        return ConfigError(
            f'the recipe gives trainer.{name}, which lightning.pytorch.Trainer does not take: '
            f'expected some of {", ".join(taken)}{did_you_mean(name, taken)}'
        )
    return ConfigError(
        f'the recipe has the key {first!r}, which nothing takes: expected some of '
        f'{", ".join(_KEYS)}{did_you_mean(first, _KEYS)}'
    )


def _named(path: str, folders: Sequence[str]) -> Callable[..., object]:
    """The class or function that a `class_path` names; its module has been imported before."""
    module, _, name = path.rpartition('.')
    with importable(folders):
        found: Callable[..., object] = getattr(import_module(module), name)
    return found


def _recipe_folders(words: Sequence[str]) -> list[str]:
    """Folders that may hold the user's modules: that of each recipe, and the working folder."""
    recipes = [
        following for word, following in itertools.pairwise(words) if word in ('--config', '-c')
    ]
    recipes += [word.partition('=')[2] for word in words if word.startswith('--config=')]
    folders = [str(Path(recipe).resolve().parent) for recipe in recipes]
    return list(dict.fromkeys([*folders, str(Path.cwd())]))
