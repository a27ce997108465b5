"""Trains and scores runs, and resumes them where they stopped.

One engine makes the runs of the published settings (`run_benchmark`) and of your experiments
(`run_experiment`). Each run has its own folder, in which only one process works at a time, and each
result its own file. So any number of processes can work through one list of runs.
"""

import math
import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from crossearth.benchmark.cases import Case, check_complete, coverage_of, open_dataset
from crossearth.benchmark.evaluation import evaluate_images, image_names
from crossearth.benchmark.on_ray import work_on_ray
from crossearth.benchmark.options import RunOptions
from crossearth.benchmark.predictions import PredictionFiles
from crossearth.benchmark.processes import work_in_processes
from crossearth.benchmark.protocol import Protocol
from crossearth.benchmark.recipes import Files, Variation
from crossearth.benchmark.results import (
    RunResult,
    Selection,
    hardware,
    source_commit,
    versions,
)
from crossearth.benchmark.runs import (
    Run,
    check_weights,
    find_settings,
    plan_runs,
    selections_of,
)
from crossearth.benchmark.settings import Setting
from crossearth.benchmark.training import (
    BusyError,
    alone,
    build_run,
    candidates,
    check_devices,
    check_oracle,
    device_of,
    load_weights,
    train,
    workers_of,
)
from crossearth.datasets import Coverage, SceneDataset
from crossearth.errors import ConfigError, CrossEarthError, LabelError
from crossearth.imagery import Imagery
from crossearth.progress import progress_bar
from crossearth.trainers import TrainingTask, check_recipe, check_task
from crossearth.trainers.notices import hushed

__all__ = ['Counts', 'count_images', 'make_runs', 'run_benchmark', 'work_through']

_AS_PUBLISHED = Variation()
_FILES = Files()


def run_benchmark(
    settings: Sequence[str | Setting],
    *,
    options: RunOptions,
    files: Files = _FILES,
    methods: Sequence[str] = ('crossearth',),
    seeds: Sequence[int] | None = None,
    variation: Variation = _AS_PUBLISHED,
    recipe: Path | None = None,
) -> list[RunResult]:
    """Train each method on the sources of some settings, and score it on their targets.

    Settings with the same source share one training run. Existing results are not made again, and a
    stopped training run resumes from its last checkpoint. The folder of a run has a name that
    depends on the whole recipe, so different recipes are kept apart.

    Args:
        settings: Abbreviations, which are keys of `SETTINGS`, or your own settings.
        options: Where and how.
        files: Paths of data and weights.
        methods: Names of methods, which are keys of `METHODS`.
        seeds: Seeds, each for a separate training run. None for the one in the recipe, or 0.
        variation: Differences from the published values.
        recipe: Your own recipe file, instead of the methods. The method is named after the file.

    Returns:
        Results in the order of the settings, methods and seeds; `'last'` before `'oracle'`.

    Raises:
        ConfigError: If a setting or method does not exist, or a recipe does not fit a setting.
        SceneNotFoundError: If an archive does not exist, before anything is trained.
        SceneError: If an archive lacks images, unless the options allow it.
        CheckpointError: If the files of a stopped training run are damaged.
    """
    chosen = find_settings(settings)
    runs = plan_runs(chosen, files, methods, seeds, variation, recipe)
    results = make_runs(runs, options)
    place = {setting.name: i for i, setting in enumerate(chosen)}
    return sorted(results, key=lambda result: place[result.setting])


def make_runs(runs: Sequence[Run], options: RunOptions) -> list[RunResult]:
    """Make every run that is not finished, in one process or several.

    Args:
        runs: What to train and score.
        options: Where and how, and in how many processes or on which Ray cluster.

    Returns:
        Results in the order of the runs and their cases; `'last'` before `'oracle'`.

    Raises:
        CrossEarthError: If a dataset, a weights file or a run is wrong. Datasets and files are
            checked before anything is trained.
        BusyError: If other processes are still making some of the runs.
    """
    _check(runs, options)
    if options.processes == 1 and options.ray is None:
        busy = work_through(runs, options)
        if busy:
            raise busy[0]
    else:
        if options.ray is None:
            work_in_processes(runs, options, work_through)
        else:
            work_on_ray(runs, options, work_through)
        others = [run for run in runs if run.waiting(options)]
        if others:
            raise BusyError(
                f'{others[0]}: another process is working on it, and on {len(others) - 1} other '
                'runs: wait for it, then repeat the command to get the results'
            )
    return [
        _load(run, case, selection, options)
        for run in runs
        for case in run.cases
        for selection in selections_of(options)
    ]


def work_through(runs: Sequence[Run], options: RunOptions) -> list[BusyError]:
    """Make one after another the runs that are neither finished nor being made elsewhere.

    Returns:
        An error for each run that another process was making.
    """
    busy = []
    for run in runs:
        if not run.waiting(options):
            check_oracle(run.folder(options.output), options)
            options.say(f'{run}: already finished')
            continue
        try:
            with alone(run.folder(options.output)), hushed():
                _make(run, options)
        except BusyError as error:
            busy.append(error)
    return busy


def _check(runs: Sequence[Run], options: RunOptions) -> None:
    """Check that everything that the unfinished runs need exists and is complete."""
    # lists, because sections cannot be hashed
    opened: list[tuple[Mapping[str, Any], SceneDataset]] = []
    tried: list[tuple[Mapping[str, Any], Protocol]] = []
    checked = set()
    for run in runs:
        cases = run.waiting(options)
        if not cases:
            continue
        if (run.name, run.source) not in checked:  # seeds use the same files
            checked.add((run.name, run.source))
            try:
                check_recipe(run.recipe)
                check_devices(run.recipe)
            except ConfigError as error:
                raise ConfigError(f'{run.name}: {error}') from error
        data = run.recipe['data'].get('init_args', {})
        trained = [(f'{run.source}, to train on', data['train'])] if 'train' in data else []
        for name, section in [
            (f'{case.target}, to test on', case.test) for case in cases
        ] + trained:
            if all(section != known for known, _ in opened):
                dataset = open_dataset(section)
                opened.append((section, dataset))
                if not options.partial:
                    check_complete(name, dataset)
        for case in cases:
            protocol = options.protocol(case.protocol)
            # a size or a class that cannot be scored would otherwise end a run after its training
            if not protocol.sees_native and (case.test, protocol) not in tried:
                tried.append((case.test, protocol))
                try:
                    protocol.check(next(known for section, known in opened if section == case.test))
                except ConfigError as error:
                    raise ConfigError(f'{case.name}: {error}') from error
        check_weights(run)
    _check_tasks(runs, options)


def _check_tasks(runs: Sequence[Run], options: RunOptions) -> None:
    """Build what each method trains, so that no mistake in one waits for the others' training."""
    first = {run.name: run for run in reversed(runs) if run.waiting(options)}
    if len(first) == 1:
        return  # it is built next anyway
    for name, run in first.items():
        try:
            check_task(run.recipe)
        except CrossEarthError as error:
            raise ConfigError(f'{name}: {error}') from error


def _make(run: Run, options: RunOptions) -> None:
    """Train a run, or load its model, and score it where results are missing."""
    cases = run.waiting(options)  # again, because another process may have finished some
    if not cases:
        return
    for case in cases:
        if run.result_path(case, 'last', options).exists():
            options.say(f'{run}: {case.name} has other images or another protocol than its result')
    options = replace(options, device=device_of(run.recipe, options))
    training = build_run(run, run.folder(options.output), options)
    # Test sets are opened and checked before training, which may take hours.
    targets = {case.name: open_dataset(case.test) for case in cases}
    for case in cases:
        _check_labels(run, case, targets[case.name], training.task)
    record = train(run, training, run.folder(options.output), options)
    # Both lightning and load_weights leave the model on the CPU.
    training.task.to(options.torch_device)
    data = training.data
    _Scoring(
        run, training.task, data.imagery, targets, coverage_of(data.train), record, options
    ).score(cases)


def _check_labels(run: Run, case: Case, target: SceneDataset, task: TrainingTask) -> None:
    labels = target.labels if case.labels is None else case.labels
    if task.labels != labels:
        raise LabelError(
            f'{run.name}: its classes are {task.labels.classes}, but {case.name} has '
            f'{labels.classes}: train on the classes of the setting'
        )


def better(result: RunResult, best: RunResult) -> RunResult:
    """The one with the higher score; a score is NaN where no class could be scored."""
    return result if math.isnan(best.score) or result.score > best.score else best


@dataclass(frozen=True, slots=True)
class _Scoring:
    """The scores of one training run."""

    run: Run
    task: TrainingTask
    imagery: Imagery
    targets: Mapping[str, SceneDataset]
    trained_on: Coverage
    record: Mapping[str, Any]
    options: RunOptions

    def score(self, cases: Sequence[Case]) -> None:
        """Write the results of the last model, and of the best candidate for each case."""
        run, options = self.run, self.options
        last = {}
        for case in cases:
            result = last[case.name] = self._result(case, 'last', self.record['steps'])
            result.save(run.result_path(case, 'last', options))
            options.say(f'{run}: {case.name} {result.score:.1f} {result.metric}')
        if options.oracle_every is None:
            return
        best = {name: replace(result, selection='oracle') for name, result in last.items()}
        for step, path in self._candidates():
            load_weights(self.task, path)
            for case in cases:
                result = self._result(case, 'oracle', step)
                best[case.name] = better(result, best[case.name])
        for case in cases:
            result = best[case.name]
            result.save(run.result_path(case, 'oracle', options))
            options.say(
                f'{run}: {case.name} {result.score:.1f} {result.metric} at step '
                f'{result.step}, the best on the unseen domain'
            )

    def _candidates(self) -> list[tuple[int, Path]]:
        """Checkpoints before the last step; all requested ones must exist."""
        folder, every = self.run.folder(self.options.output), self.options.oracle_every
        assert every is not None
        kept = candidates(folder)
        lacking = set(range(every, self.record['steps'] + 1, every)) - {*kept}
        if lacking:
            raise ConfigError(
                f'{folder}: checkpoints of {len(lacking)} steps are missing, the first is '
                f'{min(lacking)}: part of the run was trained without oracle_every; remove the '
                'folder and run again'
            )
        return [(step, path) for step, path in sorted(kept.items()) if step != self.record['steps']]

    def _result(self, case: Case, selection: Selection, step: int) -> RunResult:
        run, options, record = self.run, self.options, self.record
        maps = None
        if options.save_predictions is not None and selection == 'last':
            maps = run.maps_folder(case, options.save_predictions)
        target = self.targets[case.name]
        start = time.perf_counter()
        counts = count_images(
            self.task.model,
            case,
            target,
            options,
            imagery=self.imagery,
            num_workers=workers_of(run.recipe, options),
            maps=maps,
        )
        return RunResult(
            setting=case.name,
            source=case.source,
            target=case.target,
            method=run.name,
            seed=run.seed,
            selection=selection,
            step=step,
            fingerprint=run.fingerprint,
            classes=target.labels.classes,
            scored=target.labels.scored,
            confusion=counts.confusion,
            image_names=counts.names,
            image_counts=counts.by_image,
            images=counts.images,
            seen=counts.seen,
            coverage={'train': self.trained_on, 'test': coverage_of(target)},
            adaptation=run.adaptation,
            protocol=options.protocol(case.protocol),
            recipe=run.recipe,
            versions=versions(),
            hardware={
                'training': record['hardware'],
                'evaluation': hardware(options.torch_device),
            },
            commit=source_commit(),
            seconds={
                'training': record['seconds'],
                'training_from_step': record['seconds_from_step'],
                'evaluation': time.perf_counter() - start,
            },
            memory_bytes=record['memory_bytes'],
            parameters=sum(p.numel() for p in self.task.model.parameters()),
            finished=datetime.now(UTC).isoformat(timespec='seconds'),
            test=case.test,
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """What a model got right and wrong.

    Args:
        confusion: Pixel counts over all images, with the true class in rows.
        names: The images.
        by_image: Pixel counts of each image, row by row.
        images: Number of images scored, or of the chips that they were cut into.
        seen: Number of images for each way in which they were seen, see `evaluate_images`.
    """

    confusion: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    by_image: 'array[int]'
    images: int
    seen: dict[str, int]


def count_images(
    model: nn.Module,
    case: Case,
    dataset: SceneDataset,
    options: RunOptions,
    *,
    imagery: Imagery | None = None,
    num_workers: int,
    maps: Path | None,
) -> Counts:
    """Count the pixels of a case that a model gets right and wrong.

    Args:
        model: Images → logits.
        case: What is scored.
        dataset: Its images.
        options: How.
        imagery: What the model was trained on; None to ask the model.
        num_workers: Worker processes that read images.
        maps: Folder for label maps; None for none.
    """
    files = None if maps is None else PredictionFiles(maps, dataset)
    protocol = options.protocol(case.protocol)
    images = 0
    seen: dict[str, int] = {}

    def note(found: dict[str, int]) -> None:
        seen.update(found)
        for how, number in found.items() if not protocol.sees_native else ():
            options.say(f'{case.name}: {number} images, {how}')

    with progress_bar(desc=case.name, unit='image', shown=options.progress) as bar:

        def count(done: int, total: int) -> None:
            nonlocal images
            images = bar.total = total
            bar.update(done - bar.n)

        counts = evaluate_images(
            model,
            dataset,
            protocol,
            imagery=imagery,
            batch_size=options.batch_size,
            num_workers=num_workers,
            device=options.torch_device,
            sink=None if files is None else files.add,
            progress=count,
            tell_seen=note,
        )
    if files is not None:
        files.finish()
    return Counts(
        tuple(tuple(row) for row in counts.sum(dim=0).tolist()),
        image_names(dataset),
        array('q', counts.flatten().tolist()),
        images,
        seen,
    )


def _load(run: Run, case: Case, selection: Selection, options: RunOptions) -> RunResult:
    path = run.result_path(case, selection, options)
    result = RunResult.load(path)
    wanted = (case.name, run.name, run.seed, selection, run.fingerprint)
    got = (result.setting, result.method, result.seed, result.selection, result.fingerprint)
    protocol = options.protocol(case.protocol)
    if got != wanted or not result.scores(case.test, protocol):
        raise ConfigError(
            f'{path} is the result of {got} by {result.protocol}, expected {wanted} by '
            f'{protocol}: it was moved, or written by another version; remove it and run again'
        )
    if result.partial and not options.partial:
        raise ConfigError(
            f'{path} is the result of an incomplete set ({result.partial}): remove it and run '
            'again with the complete one, or pass --partial'
        )
    return result
