"""Experiments on your own domains: domains x methods x seeds, from one YAML file."""

import copy
import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from crossearth.benchmark.cases import Case
from crossearth.benchmark.fingerprints import fingerprint
from crossearth.benchmark.methods import find_method
from crossearth.benchmark.options import RunOptions
from crossearth.benchmark.protocol import Protocol
from crossearth.benchmark.recipes import Files, published_sampling, published_task
from crossearth.benchmark.results import RunResult, write_whole
from crossearth.benchmark.runner import make_runs
from crossearth.benchmark.runs import Run
from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace
from crossearth.spelling import did_you_mean

__all__ = ['Experiment', 'read_experiment', 'run_experiment']

type Section = Mapping[str, Any]

_FOLDER_DATASET = 'crossearth.datasets.FolderDataset'
_COPY = 'experiment.yaml'
_SOURCES_JOINED = '+'
_METHOD = {'task', 'published', 'augment', 'target', 'data', 'trainer'}


# many arguments: these are the keys of the file.
@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is trained on what, and scored on what.

    Args:
        domains: Domains by name. Each has the images to `train` on, to `test` on, or both. These
            are datasets written as in a recipe (`class_path`, `init_args`), or just the arguments
            of a `FolderDataset` (`images`, `masks`, …).
        methods: Methods by name. Each has either `task`, a complete `model` section of a recipe, or
            `published`, the name of a method in `METHODS`. `augment` replaces the augmentations
            that the methods share. `target` names a domain whose unlabelled images the method
            also trains on, which makes it an adaptation method. `data` and `trainer` are further
            arguments of the data module and of lightning's trainer.
        labels: The classes, for datasets and methods that do not name any.
        steps: Training steps.
        size_px: Side of the windows in training and in scoring, in pixels.
        sources: Domains to train on, one after another. A list among them is trained on as one
            source, each of its domains equally often. None for every domain with training images.
        unseen: Domains to score on; None for every domain with test images.
        seeds: Random seeds; each method is trained once per seed.
        batch_size: Windows per step.
        augment: Augmentations of the training windows, for every method.
        protocol: Arguments of `Protocol`. By default, whole images are scored in windows of
            `size_px`, two thirds of that apart, at the pixel size of training (`seen_at: model`).
        views: Further ways to score the same models, by name, without training again. Each holds
            the arguments of `Protocol` that differ, and `domains` if it is only for some of them.
            None to score by `protocol` alone.
        data: Further arguments of the data module, for every method.
        trainer: Further arguments of lightning's trainer, for every method.
        files: Arguments of `Files`, for published methods.
        baseline: Method that the report compares the others with.

    Raises:
        ConfigError: If a name is not a domain or method, or a number is out of range.
    """

    domains: Mapping[str, Any]
    methods: Mapping[str, Any]
    labels: Section
    steps: int
    size_px: int
    sources: Sequence[str | Sequence[str]] | None = None
    unseen: Sequence[str] | None = None
    seeds: Sequence[int] = (0, 1, 2)
    batch_size: int = 4
    augment: Sequence[Section] = ()
    protocol: Section = field(default_factory=dict)
    views: Mapping[str, Section] = field(default_factory=dict)
    data: Section = field(default_factory=dict)
    trainer: Section = field(default_factory=dict)
    files: Section = field(default_factory=dict)
    baseline: str | None = None

    def __post_init__(self) -> None:
        for name in (
            'domains',
            'methods',
            'labels',
            'protocol',
            'views',
            'data',
            'trainer',
            'files',
        ):
            if not isinstance(getattr(self, name), Mapping):
                raise ConfigError(f'{name} is {getattr(self, name)!r}: expected names with values')
        for name in ('steps', 'size_px', 'batch_size'):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f'{name} is {value!r}: expected a whole number of at least 1')
        if not self.seeds or not all(isinstance(seed, int) for seed in self.seeds):
            raise ConfigError(
                f'seeds are {self.seeds!r}: expected whole numbers, such as [0, 1, 2]'
            )
        for name in ('sources', 'unseen'):
            given = getattr(self, name)
            if isinstance(given, str):
                raise ConfigError(
                    f'{name} is {given!r}: expected a list of domains, such as [{given}]'
                )
        for name in (*self.domains, *self.methods, *self.views):
            _check_name(name)
        for name, roles in self.domains.items():
            if not isinstance(roles, Mapping) or not set(roles) <= {'train', 'test'} or not roles:
                raise ConfigError(
                    f'domain {name} is {roles!r}: expected the keys train and test, or one of '
                    'them, each with a dataset'
                )
            for role, dataset in roles.items():
                if not isinstance(dataset, Mapping):
                    raise ConfigError(
                        f'domain {name}: {role} is {dataset!r}: expected a dataset, such as '
                        '{images: FOLDER, masks: FOLDER}'
                    )
        for name, method in self.methods.items():
            self._check_method(name, method)
        for source in self._sources():
            for name in source:
                self._require(name, 'train', 'sources')
        for name in self._unseen():
            self._require(name, 'test', 'unseen')
        if self.baseline is not None and self.baseline not in self.methods:
            raise ConfigError(
                f'baseline {self.baseline!r} is not a method: expected one of '
                f'{", ".join(self.methods)}'
            )
        for name, view in self.views.items():
            self._check_view(name, view)
        _label_space(self.labels)
        self._protocol()
        self._files()

    def _check_method(self, name: str, method: Any) -> None:
        if not isinstance(method, Mapping) or ('task' in method) == ('published' in method):
            raise ConfigError(
                f'method {name} is {method!r}: expected either task, a model section of a recipe, '
                'or published, the name of a method'
            )
        surplus = sorted(set(method) - _METHOD)
        if surplus:
            raise ConfigError(
                f'method {name} has unknown keys {", ".join(surplus)}: expected some of '
                f'{", ".join(sorted(_METHOD))}'
            )
        if 'published' in method:
            find_method(method['published'])
        target = method.get('target')
        if target is not None and target not in self.domains:
            raise ConfigError(
                f'method {name}: its target {target!r} is not a domain: expected one of '
                f'{", ".join(self.domains)}'
            )

    def _check_view(self, name: str, view: Any) -> None:
        if not isinstance(view, Mapping):
            raise ConfigError(
                f'view {name} is {view!r}: expected arguments of Protocol, such as '
                '{scales: [0.5]}, and optionally domains'
            )
        domains = view.get('domains', list(self.domains))
        if not isinstance(domains, list) or not domains:
            raise ConfigError(f'view {name}: domains is {domains!r}: expected a list of domains')
        for domain in domains:
            self._require(domain, 'test', f'view {name}')
        self._protocol(view)

    def _require(self, name: Any, role: str, where: str) -> None:
        if name not in self.domains:
            raise ConfigError(
                f'{where}: {name!r} is not a domain: expected one of {", ".join(self.domains)}'
            )
        if role not in self.domains[name]:
            raise ConfigError(
                f'{where}: domain {name} has no images to {role} on: add {role} to the domain'
            )

    def _sources(self) -> list[tuple[str, ...]]:
        given = self.sources
        if given is None:
            given = [name for name, roles in self.domains.items() if 'train' in roles]
        if not given:
            raise ConfigError('no domain has images to train on: add train to one of them')
        return [(source,) if isinstance(source, str) else tuple(source) for source in given]

    def _unseen(self) -> list[str]:
        if self.unseen is not None:
            return list(self.unseen)
        return [name for name, roles in self.domains.items() if 'test' in roles]

    def runs(self) -> list[Run]:
        """One run per source, seed and method. The methods of one seed follow one another."""
        made = []
        for source in self._sources():
            cases = self._cases(source)
            for seed in dict.fromkeys(self.seeds):
                for name in self.methods:
                    recipe = self._recipe(source, name, seed)
                    made.append(Run(name, seed, cases, recipe, fingerprint(recipe)))
        return made

    def _cases(self, source: tuple[str, ...]) -> tuple[Case, ...]:
        """What a model of a source is scored on: its own test images and every unseen domain."""
        own = [name for name in source if 'test' in self.domains[name]]
        joined = _SOURCES_JOINED.join(source)
        targets = list(dict.fromkeys([*own, *self._unseen()]))
        views: list[tuple[str, Section, list[str]]] = [('', {}, targets)]
        views += [
            (f', {name}', view, [t for t in targets if t in view.get('domains', targets)])
            for name, view in self.views.items()
        ]
        cases = tuple(
            Case(
                name=f'{joined}-to-{target}{name}',
                source=joined,
                target=target,
                test=self._dataset(target, 'test'),
                protocol=self._protocol(view),
            )
            for name, view, seen in views
            for target in seen
        )
        if not cases:
            raise ConfigError(
                f'there is nothing to score a model of {joined} on: add test to a domain'
            )
        return cases

    def _protocol(self, view: Section | None = None) -> Protocol:
        varied = {name: value for name, value in (view or {}).items() if name != 'domains'}
        given = {**self.protocol, **varied}
        _check_keys('protocol', given, Protocol)
        if 'merge' in given and 'scales' not in given:
            raise ConfigError(
                f'merge is {given["merge"]!r}, but images are seen at one scale: add scales, such '
                'as [1, 0.5], or leave merge out'
            )
        cut = given.get('chip_px') or given.get('fit_px')
        return Protocol(
            **{
                'window_px': self.size_px,
                'stride_px': max(math.floor(self.size_px * 2 / 3), 1),
                'seen_at': 'native' if cut else 'model',
                **given,
            }
        )

    def _files(self) -> Files:
        _check_keys('files', self.files, Files)
        return Files(**self.files)

    def _recipe(self, source: tuple[str, ...], name: str, seed: int) -> dict[str, Any]:
        """The complete recipe of a run."""
        method = self.methods[name]
        data: dict[str, Any] = {
            'size_px': self.size_px,
            'windows_per_epoch': self.steps * self.batch_size,
            'batch_size': self.batch_size,
            'augment': list(method.get('augment', self.augment)),
            **(
                published_sampling(find_method(method['published']))
                if 'published' in method
                else {}
            ),
            **self.data,
            **method.get('data', {}),
            'seed': seed,
        }
        by_class = data.get('rare_class_temperature') is not None
        data = {'train': self._train(source, by_class=by_class), **data}
        if 'target' in method:
            target = method['target']
            data['target'] = self._dataset(
                target, 'train' if 'train' in self.domains[target] else 'test'
            )
        return copy.deepcopy(
            {
                'seed_everything': seed,
                'model': self._task(method),
                'data': {'class_path': 'crossearth.datasets.ShiftDataModule', 'init_args': data},
                'trainer': {**self.trainer, **method.get('trainer', {}), 'max_steps': self.steps},
            }
        )

    def _task(self, method: Section) -> dict[str, Any]:
        """The model section, with the experiment's classes if it does not name any."""
        if 'published' in method:
            return published_task(
                find_method(method['published']),
                labels=_label_space(self.labels),
                size_px=self.size_px,
                steps=self.steps,
                files=self._files(),
            )
        task: dict[str, Any] = copy.deepcopy(dict(method['task']))
        arguments = task.setdefault('init_args', {})
        while isinstance(arguments.get('method'), dict):  # wrapping methods have no labels
            arguments = arguments['method'].setdefault('init_args', {})
        if 'model' in arguments:
            arguments.setdefault('labels', dict(self.labels))
        return task

    def _train(self, source: tuple[str, ...], *, by_class: bool) -> dict[str, Any]:
        """The images to train on; domains are drawn equally often, unless classes are drawn."""
        if len(source) == 1:
            return self._dataset(source[0], 'train')
        datasets = {name: self._dataset(name, 'train') for name in source}
        weights = {} if by_class else {'weights': dict.fromkeys(source, 1.0)}
        return {
            'class_path': 'crossearth.datasets.merge_domains',
            'init_args': {'datasets': datasets, **weights},
        }

    def _dataset(self, name: str, role: str) -> dict[str, Any]:
        """A dataset written as in a recipe."""
        given = self.domains[name][role]
        if 'class_path' in given:
            return dict(given)
        return {
            'class_path': _FOLDER_DATASET,
            'init_args': {'labels': dict(self.labels), 'domain': name, **given},
        }


def read_experiment(path: str | os.PathLike[str]) -> Experiment:
    """Read the experiment of a YAML file.

    Its keys are the arguments of `Experiment`. `seeds` may also be a number n, for 0 to n - 1.

    Raises:
        ConfigError: If the file does not exist, is not YAML, or has wrong keys or values.
    """
    file = Path(path)
    try:
        values = yaml.safe_load(file.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ConfigError(f'{file} does not exist: check the path of the experiment') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = ' '.join(str(error).split())
        raise ConfigError(f'{file} is not YAML ({reason}): expected an experiment') from error
    known = set(Experiment.__dataclass_fields__)
    needed = {'domains', 'methods', 'labels', 'steps', 'size_px'}
    if not isinstance(values, dict) or not needed <= set(values) or not set(values) <= known:
        given = set(values) if isinstance(values, dict) else set()
        raise ConfigError(
            f'{file} lacks {sorted(needed - given)} and has unknown keys {sorted(given - known)}: '
            f'expected {", ".join(sorted(needed))}, and optionally '
            f'{", ".join(sorted(known - needed))}'
        )
    if isinstance(values.get('seeds'), int):
        values['seeds'] = list(range(values['seeds']))
    if not isinstance(values.get('seeds', []), list):
        raise ConfigError(
            f'{file}: seeds are {values["seeds"]!r}: expected a number of seeds, or whole numbers '
            'such as [0, 1, 2]'
        )
    try:
        return Experiment(**values)
    except ConfigError as error:
        raise ConfigError(f'{file}: {error}') from error


def run_experiment(
    path: str | os.PathLike[str],
    options: RunOptions,
    *,
    sources: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[RunResult]:
    """Train and score everything in an experiment that is not finished.

    Methods that are compared see the same data. With one seed, parts that they have in common start
    from the same weights, and they learn from the same windows with the same flips and crops. A
    copy of the file is kept with the results.

    Args:
        path: The YAML file.
        options: Where and how to run, and in how many processes.
        sources: Run only these sources; several that are trained on as one are joined by `+`.
        methods: Run only these methods.
        seeds: Run only these seeds.

    Returns:
        One result per run and domain.

    Raises:
        CrossEarthError: If the file, a dataset or a run is wrong. The message says what to do.
    """
    experiment = read_experiment(path)
    write_whole(options.output / _COPY, Path(path).read_text(encoding='utf-8'))
    runs = experiment.runs()
    chosen: list[tuple[str, Sequence[object] | None, Callable[[Run], object]]] = [
        ('source', sources, lambda run: run.cases[0].source),
        ('method', methods, lambda run: run.name),
        ('seed', seeds, lambda run: run.seed),
    ]
    for kind, wanted, of in chosen:
        if wanted is not None:
            _check_known(kind, wanted, dict.fromkeys(map(of, runs)))
            runs = [run for run in runs if of(run) in wanted]
    return make_runs(runs, options)


def _check_known(kind: str, wanted: Sequence[object], known: Collection[object]) -> None:
    for one in wanted:
        if one not in known:
            names = [str(name) for name in known]
            raise ConfigError(
                f'the experiment has no {kind} {one!r}: expected some of {", ".join(names)}'
                f'{did_you_mean(str(one), names)}'
            )


def _label_space(labels: Section) -> LabelSpace:
    try:
        return LabelSpace(
            name=labels['name'],
            classes=tuple(labels['classes']),
            palette=tuple((int(r), int(g), int(b)) for r, g, b in labels['palette']),
            scored=None if labels.get('scored') is None else tuple(labels['scored']),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f'labels are {dict(labels)!r} ({type(error).__name__}: {error}): expected name, '
            'classes and a palette of one colour [red, green, blue] per class'
        ) from error


def _check_keys(where: str, given: Section, kind: type[Protocol | Files]) -> None:
    known = [entry.name for entry in fields(kind)]
    surplus = sorted(str(key) for key in set(given) - set(known))
    if surplus:
        raise ConfigError(
            f'{where} has unknown keys {", ".join(surplus)}: expected some of {", ".join(known)}'
        )


def _check_name(name: Any) -> None:
    """Check a name that becomes the name of a folder."""
    if not isinstance(name, str) or not name or name.startswith('.') or set(name) & set('/\\:\0'):
        raise ConfigError(
            f'{name!r} cannot be the name of a folder: expected a domain or method name without '
            '/, \\, : or a leading dot'
        )
