"""The parts of a training run, built from its recipe, as `crossearth fit` builds them."""

import argparse
import copy
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightning.pytorch as pl
import torch
import yaml

from crossearth.datasets import ShiftDataModule
from crossearth.errors import ConfigError, CrossEarthError
from crossearth.trainers.engine import TrainingTask
from crossearth.trainers.parser_errors import complaint
from crossearth.trainers.seeded_parts import seed_parts

__all__ = ['Training', 'build_training', 'check_recipe', 'check_task', 'read_recipe']


_SECTIONS = ('seed_everything', 'model', 'data', 'trainer')


class Training(NamedTuple):
    """The parts of a training run: the task, the data and the trainer."""

    task: TrainingTask
    data: ShiftDataModule
    trainer: pl.Trainer


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values of a recipe file.

    Raises:
        ConfigError: If the file does not exist, or is not YAML with a model and data.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / 'a.yaml'
        >>> _ = path.write_text('model: {}')
        >>> read_recipe(path)
        Traceback (most recent call last):
        crossearth.errors.ConfigError: ...a.yaml has no data: expected a recipe of crossearth fit
    """
    file = Path(path)
    try:
        values = yaml.safe_load(file.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ConfigError(f'{file} does not exist: check the path of the recipe') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = ' '.join(str(error).split())
        raise ConfigError(f'{file} is not YAML ({reason}): expected a recipe') from error
    for section in ('model', 'data'):
        if not isinstance(values, dict) or not isinstance(values.get(section), dict):
            raise ConfigError(f'{file} has no {section}: expected a recipe of crossearth fit')
    recipe: dict[str, Any] = values
    return recipe


def check_recipe(recipe: Mapping[str, Any]) -> None:
    """Check that every name and option of a recipe is known, without building anything.

    Args:
        recipe: Values of a recipe file, see `read_recipe`.

    Raises:
        CrossEarthError: If one is unknown: a `ConfigError` that names it.
    """
    values = copy.deepcopy(dict(recipe))  # the parser changes its input
    # A mere check must leave the global random generators as they are.
    _lightning_cli(values | {'seed_everything': False}, build='nothing')


def check_task(recipe: Mapping[str, Any]) -> None:
    """Check that the task of a recipe can be built, by building it and throwing it away.

    Args:
        recipe: Values of a recipe file, see `read_recipe`. Its data are not opened.

    Raises:
        CrossEarthError: From the parts, if one cannot be built.
    """
    values = copy.deepcopy(dict(recipe))
    with torch.random.fork_rng(devices=[]):
        _lightning_cli(values | {'seed_everything': False}, build='task')


def build_training(recipe: Mapping[str, Any]) -> Training:
    """Task, data and trainer of a recipe, built as `crossearth fit --config` builds them.

    The random generators are seeded first, with `seed_everything` of the recipe, and each part of
    the model is built under its own seed, see `seed_parts`.

    Args:
        recipe: Values of a recipe file, see `read_recipe`. Sections that only tell
            `crossearth fit` what to show and where to begin are ignored.

    Raises:
        CrossEarthError: From the parts, if one cannot be built; a `ConfigError` if the recipe names
            something that does not exist.
    """
    built = _lightning_cli(recipe, build='all')
    return Training(built.model, built.datamodule, built.trainer)


def _lightning_cli(recipe: Mapping[str, Any], *, build: Literal['nothing', 'task', 'all']) -> Any:
    """Lightning's command line with the parts of a recipe, or only with its checked values."""
    from lightning.pytorch.cli import LightningCLI

    class Parts(LightningCLI):
        def instantiate_classes(self) -> None:
            if build == 'all':
                super().instantiate_classes()
            elif build == 'task':
                config = self.config.clone()
                del config['data']
                self.before_instantiate_classes()
                self.parser.instantiate_classes(config)

        def before_instantiate_classes(self) -> None:
            seed_parts(self.parser, self.config.as_dict()['model'])

    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='LightningCLI.s args parameter')
        # how lightning uses jsonargparse
        warnings.filterwarnings('ignore', category=DeprecationWarning)
        try:
            return Parts(
                TrainingTask,
                ShiftDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                trainer_defaults={'use_distributed_sampler': False},
                save_config_callback=None,
                parser_kwargs={'exit_on_error': False},
                args={name: recipe[name] for name in _SECTIONS if name in recipe},
                run=False,
            )
        except (argparse.ArgumentError, TypeError, ValueError) as error:
            # The parser wraps the errors of parts in its own; theirs say what to do.
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, CrossEarthError):
                cause = cause.__cause__ or cause.__context__
            if cause is not None:
                raise cause from error
            raise ConfigError(complaint(error)) from error
