"""Trains and scores settings of the benchmark, and goes on where it was stopped."""

import copy
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml
from tqdm import tqdm

from crossearth.benchmark.evaluation import Protocol, evaluate
from crossearth.benchmark.methods import find_method
from crossearth.benchmark.predictions import PredictionFiles
from crossearth.benchmark.recipes import Files, Variation, fingerprint, training_recipe
from crossearth.benchmark.results import (
    RunResult,
    Selection,
    hardware,
    source_commit,
    versions,
    write_whole,
)
from crossearth.benchmark.settings import SETTINGS, Setting
from crossearth.datasets import ArchiveDataset
from crossearth.errors import CheckpointError, ConfigError, LabelError
from crossearth.models import Segmenter, save_model
from crossearth.trainers import (
    DomainGeneralizationTask,
    Training,
    build_training,
    check_checkpoint,
    read_recipe,
)

__all__ = ['RunOptions', 'run_benchmark']

# The runner keeps checkpoints and the model by itself, in its own folder.
_OWN_CALLBACKS = ('ModelCheckpoint', 'SaveModel')
_AS_PUBLISHED = Variation()
_FILES = Files()


class _KeepCandidates(pl.Callback):
    """Keeps the weights of every n-th step; two callbacks `ModelCheckpoint` would clash."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self.every = every

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002  # lightning's signature
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Write the weights, once a step of the optimiser."""
        path = self.folder / f'step={trainer.global_step}.ckpt'
        if trainer.global_step % self.every == 0 and not path.exists():
            trainer.save_checkpoint(path, weights_only=True)


def _quiet(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Where and how runs are made; what is learnt does not depend on it.

    Args:
        output: Folder of trainings and results.
        device: `'auto'`, `'cpu'`, `'cuda'`, …
        batch_size: Windows at a time when scoring.
        num_workers: Reading processes.
        checkpoint_every: Steps from one checkpoint to the next: what a kill costs at most.
        oracle_every: Steps from one candidate to the next, to also report the checkpoint that is
            best on the unseen domain; None for the last model alone.
        flip: See `Protocol`.
        whole: See `Protocol.of`.
        save_predictions: Folder for label maps; None for none.
        progress: Whether to show bars.
        say: Where lines about the progress go.
    """

    output: Path
    device: str = 'auto'
    batch_size: int = 1
    num_workers: int = 4
    checkpoint_every: int = 1000
    oracle_every: int | None = None
    flip: bool = False
    whole: bool = False
    save_predictions: Path | None = None
    progress: bool = False
    say: Callable[[str], None] = _quiet

    def __post_init__(self) -> None:
        if min(self.batch_size, self.checkpoint_every, self.oracle_every or 1) < 1:
            raise ConfigError(
                f'batch_size={self.batch_size}, checkpoint_every={self.checkpoint_every}, '
                f'oracle_every={self.oracle_every}: expected at least 1'
            )

    @property
    def torch_device(self) -> torch.device:
        """The device by its name."""
        if self.device != 'auto':
            return torch.device(self.device)
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


@dataclass(frozen=True, slots=True)
class _Job:
    """One training, and the settings that its model is scored on."""

    name: str
    seed: int
    settings: tuple[Setting, ...]
    recipe: Mapping[str, Any]
    fingerprint: str

    def folder(self, output: Path) -> Path:
        source = self.settings[0].source.name
        return (
            output / 'trainings' / source / f'{self.name}-{self.fingerprint}' / f'seed{self.seed}'
        )

    def result_path(self, setting: Setting, selection: Selection, options: RunOptions) -> Path:
        protocol = Protocol.of(setting, whole=options.whole, flip=options.flip)
        how = ''.join(
            f'-{word}' for word, on in (('flip', protocol.flip), ('whole', options.whole)) if on
        )
        return (
            options.output
            / 'results'
            / setting.name
            / f'{self.name}-{self.fingerprint}'
            / f'seed{self.seed}-{selection}{how}.json'
        )


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
    chosen = [_find_setting(name) for name in dict.fromkeys(settings)]
    jobs = _plan(chosen, files, methods, seeds, variation, recipe)
    selections: tuple[Selection, ...] = (
        ('last',) if options.oracle_every is None else ('last', 'oracle')
    )
    waiting = {
        id(job): [
            setting
            for setting in job.settings
            if not all(job.result_path(setting, s, options).is_file() for s in selections)
        ]
        for job in jobs
    }
    targets = _open_targets([s for missing in waiting.values() for s in missing], files)
    for job in jobs:
        missing = waiting[id(job)]
        if not missing:
            options.say(f'{_title(job)}: finished before')
            continue
        _run(job, missing, targets, options)
    found = []
    for setting in chosen:
        for job in jobs:
            if setting in job.settings:
                found += [_load(job, setting, s, options) for s in selections]
    return found


def _find_setting(name: str) -> Setting:
    if name not in SETTINGS:
        raise ConfigError(f'{name}: no such setting; expected one of {", ".join(SETTINGS)}')
    return SETTINGS[name]


def _plan(
    settings: Sequence[Setting],
    files: Files,
    methods: Sequence[str],
    seeds: Sequence[int],
    variation: Variation,
    recipe: Path | None,
) -> list[_Job]:
    by_source: dict[str, list[Setting]] = {}
    for setting in settings:
        by_source.setdefault(setting.source.name, []).append(setting)
    own = None if recipe is None else read_recipe(recipe)
    jobs = []
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
                jobs.append(_Job(name, seed, tuple(shared), values, fingerprint(values)))
    return jobs


def _seeded(recipe: Mapping[str, Any], seed: int) -> dict[str, Any]:
    values: dict[str, Any] = copy.deepcopy(dict(recipe))
    values['seed_everything'] = seed
    values['data'].setdefault('init_args', {})['seed'] = seed
    return values


def _open_targets(settings: Sequence[Setting], files: Files) -> dict[str, ArchiveDataset]:
    """The unseen domains, opened before anything is trained: a missing archive shows at once."""
    return {
        domain.name: domain.open(files.root(domain), 'test', **files.options(domain))
        for domain in {setting.target.name: setting.target for setting in settings}.values()
    }


def _title(job: _Job) -> str:
    names = ', '.join(setting.name for setting in job.settings)
    return f'{job.name}, seed {job.seed}, {job.settings[0].source.name} ({names})'


def _run(
    job: _Job,
    settings: Sequence[Setting],
    targets: Mapping[str, ArchiveDataset],
    options: RunOptions,
) -> None:
    folder = job.folder(options.output)
    with _hushed():
        training = build_training(_for_runner(job.recipe, folder, options))
        if options.oracle_every is not None:
            keep = _KeepCandidates(folder / 'candidates', options.oracle_every)
            training.trainer.callbacks.append(keep)  # type: ignore[attr-defined]  # a list, set in its constructor
        for setting in settings:
            if training.task.labels != setting.target.labels:
                raise LabelError(
                    f'{job.name}: its classes are {training.task.labels.classes}, {setting.name} '
                    f'has {setting.target.labels.classes}: train on the classes of the setting'
                )
        record = _train(job, training, folder, options)
        device = options.torch_device
        training.task.to(device)
        _score(job, training.task, settings, targets, folder, record, options)


def _for_runner(recipe: Mapping[str, Any], folder: Path, options: RunOptions) -> dict[str, Any]:
    """The recipe with checkpoints in the folder of the run, and without test sets."""
    values: dict[str, Any] = copy.deepcopy(dict(recipe))
    data = values['data'].setdefault('init_args', {})
    data |= {'unseen': {}, 'source_test': None, 'num_workers': options.num_workers}
    trainer = values.setdefault('trainer', {})
    checkpoints = 'lightning.pytorch.callbacks.ModelCheckpoint'
    callbacks = [
        callback
        for callback in trainer.get('callbacks') or []
        if str(callback['class_path']).rpartition('.')[2] not in _OWN_CALLBACKS
    ]
    callbacks.append(
        {
            'class_path': checkpoints,
            'init_args': {
                'dirpath': str(folder),
                'filename': 'last',
                'every_n_train_steps': options.checkpoint_every,
                'enable_version_counter': False,
            },
        }
    )
    session = sum(1 for _ in folder.glob('logs/session*'))
    trainer |= {
        'accelerator': options.torch_device.type,
        'devices': 1,
        'use_distributed_sampler': False,
        'default_root_dir': str(folder),
        'logger': {
            'class_path': 'lightning.pytorch.loggers.CSVLogger',
            'init_args': {'save_dir': str(folder), 'name': 'logs', 'version': f'session{session}'},
        },
        'callbacks': callbacks,
        'enable_progress_bar': options.progress,
        'enable_model_summary': False,
    }
    return values


def _train(job: _Job, training: Training, folder: Path, options: RunOptions) -> dict[str, Any]:
    """Train, or go on, or load what was trained; returns the record of the training."""
    task, data, trainer = training
    done, last = folder / 'training.json', folder / 'last.ckpt'
    if done.is_file():
        record: dict[str, Any] = json.loads(done.read_text(encoding='utf-8'))
        if options.oracle_every not in (None, record['oracle_every']):
            raise ConfigError(
                f'{folder}: was trained with oracle_every={record["oracle_every"]}, asked for '
                f'{options.oracle_every}: choose another output folder, or remove this one'
            )
        _load_weights(task, last)
        options.say(f'{_title(job)}: trained before, {record["steps"]} steps')
        return record
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(json.loads(json.dumps(job.recipe)), sort_keys=False)
    write_whole(folder / 'recipe.yaml', text)
    begun = 0
    if last.is_file():
        check_checkpoint(last)
        begun = _step_of(last)
    start = time.perf_counter()
    options.say(
        f'{_title(job)}: trains for {trainer.max_steps} steps'
        + (f', goes on at step {begun}' if begun else '')
    )
    trainer.fit(
        task,
        datamodule=data,
        ckpt_path=str(last) if begun else None,
        weights_only=True if begun else None,
    )
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.save_checkpoint(last)
    record = {
        'steps': trainer.global_step,
        'seconds': time.perf_counter() - start,
        'seconds_from_step': begun,
        'oracle_every': options.oracle_every,
        'hardware': hardware(options.torch_device),
        'versions': versions(),
        'commit': source_commit(),
    }
    if isinstance(task.model, Segmenter) and task.model.recipe is not None:
        save_model(task.model, folder / 'model.safetensors', labels=task.labels)
    write_whole(done, json.dumps(record, indent=1))
    return record


def _score(
    job: _Job,
    task: DomainGeneralizationTask,
    settings: Sequence[Setting],
    targets: Mapping[str, ArchiveDataset],
    folder: Path,
    record: Mapping[str, Any],
    options: RunOptions,
) -> None:
    """Results of the last model, and of the best candidate for each setting."""
    last = {
        setting.name: _result(job, task, setting, targets, 'last', record['steps'], record, options)
        for setting in settings
    }
    for setting in settings:
        result = last[setting.name]
        result.save(job.result_path(setting, 'last', options))
        options.say(f'{_title(job)}: {setting.name} {result.score:.1f} {result.metric}')
    if options.oracle_every is None:
        return
    best = {name: replace(result, selection='oracle') for name, result in last.items()}
    candidates = {_step_of(path): path for path in (folder / 'candidates').glob('*.ckpt')}
    for step in sorted(candidates):
        if step == record['steps']:
            continue
        _load_weights(task, candidates[step])
        for setting in settings:
            result = _result(job, task, setting, targets, 'oracle', step, record, options)
            if not result.score <= best[setting.name].score:
                best[setting.name] = result
    for setting in settings:
        result = best[setting.name]
        result.save(job.result_path(setting, 'oracle', options))
        options.say(
            f'{_title(job)}: {setting.name} {result.score:.1f} {result.metric} at step '
            f'{result.step}, the best on the unseen domain'
        )


def _result(
    job: _Job,
    task: DomainGeneralizationTask,
    setting: Setting,
    targets: Mapping[str, ArchiveDataset],
    selection: Selection,
    step: int,
    record: Mapping[str, Any],
    options: RunOptions,
) -> RunResult:
    dataset = targets[setting.target.name]
    protocol = Protocol.of(setting, whole=options.whole, flip=options.flip)
    maps = None
    if options.save_predictions is not None and selection == 'last':
        place = options.save_predictions / setting.name / f'{job.name}-{job.fingerprint}'
        maps = PredictionFiles(place / f'seed{job.seed}', dataset)
    start = time.perf_counter()
    images = 0
    with tqdm(desc=setting.name, unit='image', disable=not options.progress) as bar:

        def count(done: int, total: int) -> None:
            nonlocal images
            images = bar.total = total
            bar.update(done - bar.n)

        confusion = evaluate(
            task.model,
            dataset,
            protocol,
            batch_size=options.batch_size,
            num_workers=options.num_workers,
            device=options.torch_device,
            sink=None if maps is None else maps.add,
            progress=count,
        )
    if maps is not None:
        maps.finish()
    return RunResult(
        setting=setting.name,
        method=job.name,
        seed=job.seed,
        selection=selection,
        step=step,
        fingerprint=job.fingerprint,
        classes=setting.target.labels.classes,
        scored=setting.target.labels.scored,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        images=images,
        protocol=protocol,
        recipe=job.recipe,
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


def _load(job: _Job, setting: Setting, selection: Selection, options: RunOptions) -> RunResult:
    path = job.result_path(setting, selection, options)
    result = RunResult.load(path)
    wanted = (setting.name, job.name, job.seed, selection, job.fingerprint)
    got = (result.setting, result.method, result.seed, result.selection, result.fingerprint)
    protocol = Protocol.of(setting, whole=options.whole, flip=options.flip)
    if got != wanted or result.protocol != protocol:
        raise ConfigError(
            f'{path}: is the result of {got} by {result.protocol}, expected {wanted} by '
            f'{protocol}: it was moved or written by another version; remove it and run again'
        )
    return result


def _load_weights(task: DomainGeneralizationTask, path: Path) -> None:
    check_checkpoint(path)
    content = torch.load(path, map_location='cpu', weights_only=True)
    task.on_load_checkpoint(content)
    task.load_state_dict(content['state_dict'], strict=False)


def _step_of(path: Path) -> int:
    content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    step = content.get('global_step')
    if not isinstance(step, int):
        raise CheckpointError(f'{path}: names no step; remove it and run again')
    return step


@contextmanager
def _hushed() -> Iterator[None]:
    """Without lightning's notices about what is meant."""
    logger = logging.getLogger('lightning.pytorch')
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        for message in (
            '.*does not have many workers',
            'Found .* in eval mode',
            'Total length of .list. across ranks',
            '.*LeafSpec',
            'Checkpoint directory .* exists and is not empty',
            'The number of training batches',
            '.*GPU available but not used',
            '.*resuming from a checkpoint that ended before the epoch ended',
            'The dirpath has changed',
        ):
            warnings.filterwarnings('ignore', message=message)
        try:
            yield
        finally:
            logger.setLevel(level)
