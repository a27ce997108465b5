"""`crossearth fit | validate | test`: train and score from a recipe, with Lightning's own parser.

A `class_path` in a recipe may name a module next to the recipe, or in the working folder.
"""

import argparse
import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from crossearth.commands.importing import importable
from crossearth.errors import ConfigError, CrossEarthError

__all__ = ['HELP', 'run']

HELP = {
    'fit': 'train a model from a recipe',
    'validate': 'score a checkpoint on validation scenes',
    'test': 'score a checkpoint on the source and every unseen domain',
}
"""Help line of each command."""

_LOGGERS = [
    {
        'class_path': f'lightning.pytorch.loggers.{kind}Logger',
        'init_args': {'save_dir': folder, 'name': name},
    }
    for kind, folder, name in (('CSV', '.', 'logs'), ('TensorBoard', 'logs', 'tensorboard'))
]


def run(arguments: argparse.Namespace) -> None:
    """Train or score, and print progress.

    Args:
        arguments: `words` holds the words of the command line, with the command first.

    Raises:
        CrossEarthError: If the recipe, a checkpoint or a scene is wrong. The message says what to
            do.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    words: list[str] = arguments.words
    with warnings.catch_warnings(), importable(_recipe_folders(words)) as folders:
        warnings.filterwarnings('ignore', message='LightningCLI.s args parameter')
        warnings.filterwarnings('ignore', message='.*does not have many workers')
        warnings.filterwarnings('ignore', message='Found .* in eval mode')  # frozen on purpose
        warnings.filterwarnings('ignore', message='Total length of .list. across ranks')
        warnings.filterwarnings('ignore', message='.*LeafSpec')  # lightning's use of torch
        try:
            _run_lightning(words)
        except (argparse.ArgumentError, TypeError, ValueError, MisconfigurationException) as error:
            raise (_plain_error(error, folders) or error) from error


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
        trainer_defaults={'use_distributed_sampler': False, 'logger': _LOGGERS},
        save_config_kwargs={'overwrite': True},
        parser_kwargs={
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

    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    first = causes[-1]
    ours = next((cause for cause in causes if isinstance(cause, CrossEarthError)), None)
    if ours is not None:
        return ours
    if isinstance(first, ModuleNotFoundError):
        return ConfigError(
            f'the recipe needs the module {first.name!r}, which was found neither in '
            f'{" nor in ".join(folders)} (folder of the recipe, working folder) nor among the '
            'installed packages: put it into one of these, or correct the class_path'
        )
    if isinstance(first, AttributeError) and isinstance(first.obj, ModuleType):
        place = getattr(first.obj, '__file__', None) or first.obj.__name__
        return ConfigError(f'{place} has no {first.name!r}: correct the class_path in the recipe')
    if 'does not correspond to a subclass' in str(first):
        return ConfigError(
            f'{first}: a function needs a return annotation of that class, such as '
            'def build(...) -> nn.Module'
        )
    if isinstance(error, argparse.ArgumentError | UnicodeDecodeError | MisconfigurationException):
        return ConfigError(' '.join(str(error).split()))
    return None


def _recipe_folders(words: Sequence[str]) -> list[str]:
    """Folders that may hold the user's modules: that of each recipe, and the working folder."""
    recipes = [
        following for word, following in itertools.pairwise(words) if word in ('--config', '-c')
    ]
    recipes += [word.partition('=')[2] for word in words if word.startswith('--config=')]
    folders = [str(Path(recipe).resolve().parent) for recipe in recipes]
    return list(dict.fromkeys([*folders, str(Path.cwd())]))
