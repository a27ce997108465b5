"""What there is to train: one run for each source, method and seed."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossearth.benchmark.evaluation import Protocol
from crossearth.benchmark.methods import find_method
from crossearth.benchmark.options import RunOptions
from crossearth.benchmark.recipes import Files, Variation, fingerprint, training_recipe
from crossearth.benchmark.results import Selection
from crossearth.benchmark.settings import SETTINGS, Setting
from crossearth.datasets import ArchiveDataset
from crossearth.errors import CheckpointError, ConfigError
from crossearth.trainers import read_recipe

__all__ = ['Run', 'check_files', 'find_settings', 'open_targets', 'plan_runs']

_FILE_ARGUMENTS = ('pretrained', 'style', 'predictor', 'transformer')


@dataclass(frozen=True, slots=True)
class Run:
    """One training, and the settings that its model is scored on.

    Args:
        name: Name of the method.
        seed: Seed of the training.
        settings: Settings that train on its source.
        recipe: The recipe, complete.
        fingerprint: Of the recipe.
    """

    name: str
    seed: int
    settings: tuple[Setting, ...]
    recipe: Mapping[str, Any]
    fingerprint: str

    def __str__(self) -> str:
        names = ', '.join(setting.name for setting in self.settings)
        return f'{self.name}, seed {self.seed}, {self.settings[0].source.name} ({names})'

    def folder(self, output: Path) -> Path:
        """Where its training lies."""
        source = self.settings[0].source.name
        return (
            output / 'trainings' / source / f'{self.name}-{self.fingerprint}' / f'seed{self.seed}'
        )

    def maps_folder(self, setting: Setting, save_predictions: Path) -> Path:
        """Where its label maps lie below the folder that was asked for."""
        place = save_predictions / setting.name / f'{self.name}-{self.fingerprint}'
        return place / f'seed{self.seed}'

    def result_path(self, setting: Setting, selection: Selection, options: RunOptions) -> Path:
        """The file of a result; other protocols have other names."""
        published = Protocol.of(setting, flip=options.flip, autocast=options.autocast)
        words = (
            'flip' if options.flip else None,
            'whole' if options.protocol(setting) != published else None,
            options.autocast,
        )
        how = ''.join(f'-{word}' for word in words if word is not None)
        return (
            options.output
            / 'results'
            / setting.name
            / f'{self.name}-{self.fingerprint}'
            / f'seed{self.seed}-{selection}{how}.json'
        )


def find_settings(names: Sequence[str]) -> list[Setting]:
    """Settings by their abbreviations, each once.

    Raises:
        ConfigError: If there is no such setting.
    """
    unknown = [name for name in names if name not in SETTINGS]
    if unknown or not names:
        raise ConfigError(
            f'{", ".join(unknown) or "nothing"}: no such setting; expected one of '
            f'{", ".join(SETTINGS)}'
        )
    return [SETTINGS[name] for name in dict.fromkeys(names)]


def plan_runs(
    settings: Sequence[Setting],
    files: Files,
    methods: Sequence[str],
    seeds: Sequence[int],
    variation: Variation,
    recipe: Path | None,
) -> list[Run]:
    """A run for each source of the settings, method and seed.

    Raises:
        ConfigError: If there is no such method, it is an ablation on another source, or a recipe
            of one's own is to be varied.
    """
    if recipe is not None and variation != Variation():
        raise ConfigError(
            f'{recipe}: a recipe of your own says its steps, batch and patches itself: change them '
            'there, or leave the recipe out'
        )
    by_source: dict[str, list[Setting]] = {}
    for setting in settings:
        by_source.setdefault(setting.source.name, []).append(setting)
    own = None if recipe is None else read_recipe(recipe)
    runs = []
    for source, shared in by_source.items():
        for name in dict.fromkeys(methods) if recipe is None else (recipe.stem,):
            for seed in dict.fromkeys(seeds):
                if own is None:
                    method = find_method(name)
                    if method.sources is not None and source not in method.sources:
                        raise ConfigError(
                            f'{name}: is an ablation on {", ".join(method.sources)}, '
                            f'{shared[0].name} trains on {source}; choose other settings'
                        )
                    values = training_recipe(
                        source, method, files=files, variation=variation, seed=seed
                    )
                else:
                    values = _seeded(own, seed)
                runs.append(Run(name, seed, tuple(shared), values, fingerprint(values)))
    return runs


def _seeded(recipe: Mapping[str, Any], seed: int) -> dict[str, Any]:
    values: dict[str, Any] = copy.deepcopy(dict(recipe))
    values['seed_everything'] = seed
    values['data'].setdefault('init_args', {})['seed'] = seed
    return values


def open_targets(settings: Sequence[Setting], files: Files) -> dict[str, ArchiveDataset]:
    """The unseen domains, opened before anything is trained: a missing archive shows at once."""
    return {
        domain.name: domain.open(files.root(domain), 'test', **files.options(domain))
        for domain in {setting.target.name: setting.target for setting in settings}.values()
    }


def check_files(run: Run, files: Files | None) -> None:
    """Whether the source of a method, and the weights that its recipe names, are there."""
    if files is not None:
        source = run.settings[0].source
        source.open(files.root(source), 'train', **files.options(source))
    for part, name, value in _named_files(run.recipe['model'], 'model'):
        if not Path(value).exists():
            raise CheckpointError(
                f'{value}: no such file; the {part} of {run.name} names it as {name}: give the '
                'path of yours'
            )


def _named_files(values: Any, part: str) -> Iterator[tuple[str, str, str]]:
    """Part, argument and path of each file of weights or styles that a section names."""
    if not isinstance(values, Mapping):
        return
    for name, value in values.items():
        if name in _FILE_ARGUMENTS and isinstance(value, str):
            yield part, name, value
        yield from _named_files(value, part if name == 'init_args' else str(name))
