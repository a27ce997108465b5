"""Trains and scores settings of the benchmark, and goes on where it was stopped."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from crossearth.benchmark.evaluation import evaluate
from crossearth.benchmark.options import RunOptions
from crossearth.benchmark.predictions import PredictionFiles
from crossearth.benchmark.recipes import Files, Variation
from crossearth.benchmark.results import (
    RunResult,
    Selection,
    hardware,
    source_commit,
    versions,
)
from crossearth.benchmark.runs import Run, check_files, find_settings, open_targets, plan_runs
from crossearth.benchmark.settings import Setting
from crossearth.benchmark.training import (
    alone,
    build_run,
    candidates,
    check_oracle,
    hushed,
    load_weights,
    train,
)
from crossearth.datasets import ArchiveDataset
from crossearth.errors import ConfigError, LabelError
from crossearth.trainers import TrainingTask

__all__ = ['run_benchmark', 'score_setting']

_AS_PUBLISHED = Variation()
_FILES = Files()


def run_benchmark(
    settings: Sequence[str],
    *,
    options: RunOptions,
    files: Files = _FILES,
    methods: Sequence[str] = ('crossearth',),
    seeds: Sequence[int] = (0,),
    variation: Variation = _AS_PUBLISHED,
    recipe: Path | None = None,
) -> list[RunResult]:
    """Train each method on the sources of some settings, and score it on their targets.

    Settings that share a source share one training. Results that are there already are not made
    again; a training that was stopped goes on from its last checkpoint. What is kept lies below a
    name that depends on the whole recipe, so that other settings of it are kept apart.

    Args:
        settings: Abbreviations, keys of `SETTINGS`.
        options: Where and how.
        files: Where data and weights lie.
        methods: Names of methods, keys of `METHODS`.
        seeds: Seeds; each is a training of its own.
        variation: What differs from the published values.
        recipe: Recipe file of one's own, in place of the methods; the method is called after it.

    Returns:
        Results in the order of the settings, methods and seeds; `'last'` before `'oracle'`.

    Raises:
        ConfigError: If a setting or method does not exist, or a recipe does not fit a setting.
        SceneNotFoundError: If an archive is not there, before anything is trained.
        CheckpointError: If what a stopped training left is damaged.
    """
    chosen = find_settings(settings)
    runs = plan_runs(chosen, files, methods, seeds, variation, recipe)
    selections: tuple[Selection, ...] = (
        ('last',) if options.oracle_every is None else ('last', 'oracle')
    )
    waiting = {
        id(run): [
            setting
            for setting in run.settings
            if not all(run.result_path(setting, s, options).is_file() for s in selections)
            or (
                options.save_predictions is not None
                and not run.maps_folder(setting, options.save_predictions).exists()
            )
        ]
        for run in runs
    }
    targets = open_targets([s for missing in waiting.values() for s in missing], files)
    for run in runs:
        if waiting[id(run)]:
            check_files(run, files if recipe is None else None)
    for run in runs:
        missing = waiting[id(run)]
        if not missing:
            check_oracle(run.folder(options.output), options)
            options.say(f'{run}: finished before')
            continue
        _run(run, missing, targets, options)
    found = []
    for setting in chosen:
        for run in runs:
            if setting in run.settings:
                found += [_load(run, setting, s, options) for s in selections]
    return found


def _run(
    run: Run,
    settings: Sequence[Setting],
    targets: Mapping[str, ArchiveDataset],
    options: RunOptions,
) -> None:
    folder = run.folder(options.output)
    with alone(folder), hushed():
        training = build_run(run, folder, options)
        for setting in settings:
            if training.task.labels != setting.target.labels:
                raise LabelError(
                    f'{run.name}: its classes are {training.task.labels.classes}, {setting.name} '
                    f'has {setting.target.labels.classes}: train on the classes of the setting'
                )
        record = train(run, training, folder, options)
        training.task.to(options.torch_device)
        _score(run, training.task, settings, targets, folder, record, options)


def _score(
    run: Run,
    task: TrainingTask,
    settings: Sequence[Setting],
    targets: Mapping[str, ArchiveDataset],
    folder: Path,
    record: Mapping[str, Any],
    options: RunOptions,
) -> None:
    """Results of the last model, and of the best candidate for each setting."""
    last = {
        setting.name: _result(run, task, setting, targets, 'last', record['steps'], record, options)
        for setting in settings
    }
    for setting in settings:
        result = last[setting.name]
        result.save(run.result_path(setting, 'last', options))
        options.say(f'{run}: {setting.name} {result.score:.1f} {result.metric}')
    if options.oracle_every is None:
        return
    best = {name: replace(result, selection='oracle') for name, result in last.items()}
    kept = candidates(folder)
    lacking = set(range(options.oracle_every, record['steps'] + 1, options.oracle_every)) - {*kept}
    if lacking:
        raise ConfigError(
            f'{folder}: candidates of {len(lacking)} steps are missing, first {min(lacking)}: a '
            'part of it was trained without oracle_every; remove it and run again'
        )
    for step, path in sorted(kept.items()):
        if step == record['steps']:
            continue
        load_weights(task, path)
        for setting in settings:
            result = _result(run, task, setting, targets, 'oracle', step, record, options)
            if not result.score <= best[setting.name].score:
                best[setting.name] = result
    for setting in settings:
        result = best[setting.name]
        result.save(run.result_path(setting, 'oracle', options))
        options.say(
            f'{run}: {setting.name} {result.score:.1f} {result.metric} at step '
            f'{result.step}, the best on the unseen domain'
        )


def _result(
    run: Run,
    task: TrainingTask,
    setting: Setting,
    targets: Mapping[str, ArchiveDataset],
    selection: Selection,
    step: int,
    record: Mapping[str, Any],
    options: RunOptions,
) -> RunResult:
    maps = None
    if options.save_predictions is not None and selection == 'last':
        maps = run.maps_folder(setting, options.save_predictions)
    start = time.perf_counter()
    confusion, images = score_setting(
        task.model, setting, targets[setting.target.name], options, maps=maps
    )
    return RunResult(
        setting=setting.name,
        method=run.name,
        seed=run.seed,
        selection=selection,
        step=step,
        fingerprint=run.fingerprint,
        classes=setting.target.labels.classes,
        scored=setting.target.labels.scored,
        confusion=confusion,
        images=images,
        protocol=options.protocol(setting),
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
        finished=datetime.now(UTC).isoformat(timespec='seconds'),
    )


def score_setting(
    model: nn.Module,
    setting: Setting,
    dataset: ArchiveDataset,
    options: RunOptions,
    *,
    maps: Path | None,
) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Counts of a model on the target of a setting, and how many images they are of.

    Args:
        model: Images → logits.
        setting: The setting.
        dataset: Its target.
        options: How.
        maps: Folder to write label maps below; None for none.
    """
    files = None if maps is None else PredictionFiles(maps, dataset)
    images = 0
    with tqdm(desc=setting.name, unit='image', disable=not options.progress) as bar:

        def count(done: int, total: int) -> None:
            nonlocal images
            images = bar.total = total
            bar.update(done - bar.n)

        confusion = evaluate(
            model,
            dataset,
            options.protocol(setting),
            batch_size=options.batch_size,
            num_workers=options.num_workers,
            device=options.torch_device,
            sink=None if files is None else files.add,
            progress=count,
        )
    if files is not None:
        files.finish()
    return tuple(tuple(row) for row in confusion.tolist()), images


def _load(run: Run, setting: Setting, selection: Selection, options: RunOptions) -> RunResult:
    path = run.result_path(setting, selection, options)
    result = RunResult.load(path)
    wanted = (setting.name, run.name, run.seed, selection, run.fingerprint)
    got = (result.setting, result.method, result.seed, result.selection, result.fingerprint)
    protocol = options.protocol(setting)
    if got != wanted or result.protocol != protocol:
        raise ConfigError(
            f'{path}: is the result of {got} by {result.protocol}, expected {wanted} by '
            f'{protocol}: it was moved or written by another version; remove it and run again'
        )
    return result
