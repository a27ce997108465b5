"""Plans what to train: one run for each source, method and seed."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossearth.benchmark.cases import Case, case_of
from crossearth.benchmark.fingerprints import fingerprint
from crossearth.benchmark.methods import find_method
from crossearth.benchmark.options import RunOptions
from crossearth.benchmark.recipes import Files, Variation, training_recipe
from crossearth.benchmark.results import RunResult, Selection
from crossearth.benchmark.settings import SETTINGS, Setting
from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.weights.installed import INSTALLED
from crossearth.spelling import did_you_mean
from crossearth.trainers import read_recipe

__all__ = ['Run', 'check_weights', 'find_settings', 'plan_runs', 'seeded']

_SELECTIONS: tuple[Selection, ...] = ('last', 'oracle')
_FILE_ARGUMENTS = ('pretrained', 'style', 'predictor', 'transformer')


@dataclass(frozen=True, slots=True)
class Run:
    """One training run, and the domains that its model is scored on.

    Args:
        name: Name of the method.
        seed: Seed of the training run.
        cases: What its model is scored on; all share one source.
        recipe: The complete recipe.
        fingerprint: Fingerprint of the recipe.
    """

    name: str
    seed: int
    cases: tuple[Case, ...]
    recipe: Mapping[str, Any]
    fingerprint: str

    def __str__(self) -> str:
        return f'{self.name}, seed {self.seed}, learnt in {self.source}'

    @property
    def source(self) -> str:
        """Name of the training domain."""
        return self.cases[0].source

    @property
    def adaptation(self) -> bool:
        """Whether training sees unlabelled images of a target domain."""
        return bool(self.recipe['data'].get('init_args', {}).get('target'))

    def folder(self, output: Path) -> Path:
        """Folder of the training run."""
        kind = f'{self.name}-{self.fingerprint}'
        return output / 'trainings' / self.source / kind / f'seed{self.seed}'

    def maps_folder(self, case: Case, save_predictions: Path) -> Path:
        """Folder of its label maps, inside the requested folder."""
        place = save_predictions / case.name / f'{self.name}-{self.fingerprint}'
        return place / f'seed{self.seed}'

    def result_path(self, case: Case, selection: Selection, options: RunOptions) -> Path:
        """The file of a result. The name differs between protocols."""
        asked = options.protocol(case.protocol)
        words = (
            'flip' if options.flip else None,
            'whole' if (asked.chip_px, asked.fit_px) != _sizes(case) else None,
            options.autocast,
            None if options.seen_at is None else f'at-{options.seen_at}',
            None
            if options.scales is None
            else 'scales-' + '-'.join(f'{scale:g}' for scale in options.scales),
        )
        how = ''.join(f'-{word}' for word in words if word is not None)
        return (
            options.output
            / 'results'
            / case.name
            / f'{self.name}-{self.fingerprint}'
            / f'seed{self.seed}-{selection}{how}.json'
        )

    def waiting(self, options: RunOptions) -> list[Case]:
        """The cases whose results, or requested label maps, are missing.

        A result of other images, or by another protocol, counts as missing.
        """
        return [
            case
            for case in self.cases
            if not all(self._has_result(case, s, options) for s in selections_of(options))
            or (
                options.save_predictions is not None
                and not self.maps_folder(case, options.save_predictions).exists()
            )
        ]

    def _has_result(self, case: Case, selection: Selection, options: RunOptions) -> bool:
        path = self.result_path(case, selection, options)
        if not path.is_file():
            return False
        return RunResult.load(path).scores(case.test, options.protocol(case.protocol))


def selections_of(options: RunOptions) -> tuple[Selection, ...]:
    """Which models of a training run are scored."""
    return _SELECTIONS[:1] if options.oracle_every is None else _SELECTIONS


def find_settings(wanted: Sequence[str | Setting]) -> list[Setting]:
    """Published settings by their abbreviations and the user's own settings, without repeats.

    Raises:
        ConfigError: If a setting does not exist.
    """
    own = {setting.name: setting for setting in wanted if isinstance(setting, Setting)}
    names = [one.name if isinstance(one, Setting) else one for one in wanted]
    unknown = [name for name in names if name not in SETTINGS and name not in own]
    if unknown or not names:
        raise ConfigError(
            f'no setting is named {", ".join(unknown) or "nothing"}: expected one of '
            f'{", ".join(SETTINGS)}{did_you_mean("".join(unknown[:1]), [*SETTINGS, *own])}'
        )
    return [own[name] if name in own else SETTINGS[name] for name in dict.fromkeys(names)]


def plan_runs(
    settings: Sequence[Setting],
    files: Files,
    methods: Sequence[str],
    seeds: Sequence[int] | None,
    variation: Variation,
    recipe: Path | None,
) -> list[Run]:
    """One run for each source of the settings, method and seed.

    Your own settings share a run only if their chips, masking and loss are the same.

    Args:
        settings: What the models are scored on.
        files: Paths of data and weights.
        methods: Names of methods, if there is no recipe.
        seeds: Seeds; None for that of the recipe, or 0.
        variation: Differences from the published values.
        recipe: Your own recipe file, instead of the methods.

    Raises:
        ConfigError: If a method does not exist or is an ablation on another source, or if your own
            recipe is to be varied.
    """
    if recipe is not None and variation != Variation():
        raise ConfigError(
            f'{recipe}: a recipe sets its own steps, batch and patches: change them there, or '
            'leave out the recipe'
        )
    together: dict[tuple[Any, ...], list[Setting]] = {}
    for setting in settings:
        # a recipe of one's own sets all of this itself
        trained = _trained(setting) if recipe is None else ()
        together.setdefault((setting.source.name, *trained), []).append(setting)
    own = None if recipe is None else read_recipe(recipe)
    runs = []
    for (source, *_), shared in together.items():
        cases = tuple(case_of(setting, files) for setting in shared)
        for name in dict.fromkeys(methods) if recipe is None else (recipe.stem,):
            for seed in dict.fromkeys(_own_seeds(own) if seeds is None else seeds):
                if own is None:
                    method = find_method(name)
                    if method.sources is not None and source not in method.sources:
                        raise ConfigError(
                            f'{name} is an ablation on {", ".join(method.sources)}, but '
                            f'{shared[0].name} trains on {source}: choose other settings'
                        )
                    own_settings = shared if any(s.name not in SETTINGS for s in shared) else None
                    values = training_recipe(
                        source,
                        method,
                        files=files,
                        variation=variation,
                        seed=seed,
                        settings=own_settings,
                    )
                else:
                    values = seeded(own, seed)
                runs.append(Run(name, seed, cases, values, fingerprint(values)))
    return runs


def _trained(setting: Setting) -> tuple[Any, ...]:
    """What the training run depends on, apart from its source; published settings agree in it."""
    if setting.name in SETTINGS:
        return ()
    return setting.chip_px, setting.styled, setting.masked, setting.mim_loss


def seeded(recipe: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """A recipe with another seed for weights, windows and augmentations."""
    values: dict[str, Any] = copy.deepcopy(dict(recipe))
    values['seed_everything'] = seed
    values['data'].setdefault('init_args', {})['seed'] = seed
    return values


def check_weights(run: Run) -> None:
    """Check that the weights and style files in the recipe of a run exist.

    Raises:
        CheckpointError: If one does not.
    """
    for part, name, value in _named_files(run.recipe['model'], 'model'):
        if value != INSTALLED and not Path(value).exists():
            raise CheckpointError(
                f'{value} does not exist, but the {part} of {run.name} names it as {name}: give '
                'the path of your copy'
            )


def _named_files(values: Any, part: str) -> Iterator[tuple[str, str, str]]:
    """Part, argument and path of each weights or style file that a section names."""
    if not isinstance(values, Mapping):
        return
    for name, value in values.items():
        if name in _FILE_ARGUMENTS and isinstance(value, str):
            yield part, name, value
        yield from _named_files(value, part if name == 'init_args' else str(name))


def _own_seeds(recipe: Mapping[str, Any] | None) -> tuple[int]:
    """The seed in a recipe; 0 if there is none."""
    named = None if recipe is None else recipe.get('seed_everything')
    return (named if isinstance(named, int) and not isinstance(named, bool) else 0,)


def _sizes(case: Case) -> tuple[int | None, int | None]:
    return case.protocol.chip_px, case.protocol.fit_px
