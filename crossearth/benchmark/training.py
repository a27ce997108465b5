"""One training run of the benchmark, which resumes where it stopped."""

import copy
import fcntl
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import yaml

from crossearth.benchmark.fingerprints import callbacks_of
from crossearth.benchmark.options import RunOptions
from crossearth.benchmark.peak_memory import peak_memory_bytes, restart_peak_memory
from crossearth.benchmark.results import hardware, source_commit, versions, write_whole
from crossearth.benchmark.runs import Run
from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.recording import blueprint_of
from crossearth.trainers import (
    Training,
    TrainingTask,
    build_training,
    check_checkpoint,
    intact_checkpoint,
    previous_checkpoint,
    save_trained,
    seal_checkpoint,
)

__all__ = [
    'BusyError',
    'alone',
    'build_run',
    'candidates',
    'check_devices',
    'check_oracle',
    'device_of',
    'load_weights',
    'train',
    'workers_of',
]

# The runner itself keeps checkpoints and the model, in its own folder.
_OWN_CALLBACKS = ('ModelCheckpoint', 'SaveModel')
_RECORD = 'training.json'
_CHECKPOINT_EVERY = 1000
_RECORDED = (
    'steps',
    'seconds',
    'seconds_from_step',
    'memory_bytes',
    'oracle_every',
    'hardware',
)
# The parts of a checkpoint that are needed to score it.
_SCORED = ('state_dict', 'frozen_marks', 'global_step', 'epoch', 'pytorch-lightning_version')


class BusyError(ConfigError):
    """Another process is working in a folder."""


class _KeepCandidates(pl.Callback):
    """Keeps the weights of every n-th step; a second `ModelCheckpoint` would clash with ours."""

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
        """Write the weights, once per optimiser step."""
        path = self.folder / f'step={trainer.global_step}.ckpt'
        if not trainer.global_step or trainer.global_step % self.every or path.exists():
            return
        beside = self.folder / '.whole.ckpt'
        # lightning's own weights-only checkpoint omits what callbacks add, such as averages
        trainer.save_checkpoint(beside)
        content = torch.load(beside, map_location='cpu', weights_only=True)
        torch.save({key: content[key] for key in _SCORED if key in content}, beside)
        seal_checkpoint(beside)
        beside.replace(path)


def build_run(run: Run, folder: Path, options: RunOptions) -> Training:
    """Build task, data and trainer of a run, with checkpoints in its folder."""
    training = build_training(_for_runner(run.recipe, folder, options))
    if options.oracle_every is not None:
        keep = _KeepCandidates(folder / 'candidates', options.oracle_every)
        training.trainer.callbacks.append(keep)  # type: ignore[attr-defined]  # set by lightning
    return training


def train(run: Run, training: Training, folder: Path, options: RunOptions) -> dict[str, Any]:
    """Train, resume, or load what was trained, and return the record of the training run."""
    task, data, trainer = training
    last = folder / 'last.ckpt'
    record = check_oracle(folder, options)
    if record is not None:
        load_weights(task, last)
        options.say(f'{run}: already trained, {record["steps"]} steps')
        return record
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(json.loads(json.dumps(run.recipe)), sort_keys=False)
    write_whole(folder / 'recipe.yaml', text)
    resumed = intact_checkpoint(last) if last.is_file() else None  # or the previous one
    begun = 0 if resumed is None else _step_of(resumed)
    start = time.perf_counter()
    counted = restart_peak_memory(options.torch_device)
    options.say(
        f'{run}: trains for {trainer.max_steps} steps'
        + (f', resumes at step {begun}' if begun else '')
    )
    trainer.fit(
        task,
        datamodule=data,
        ckpt_path=str(resumed) if begun else None,
        weights_only=True if begun else None,
    )
    if trainer.interrupted:
        raise KeyboardInterrupt
    trainer.save_checkpoint(last)
    previous_checkpoint(last).unlink(missing_ok=True)  # not needed once training has finished
    record = {
        'steps': trainer.global_step,
        'seconds': time.perf_counter() - start,
        'seconds_from_step': begun,
        'memory_bytes': peak_memory_bytes(options.torch_device) if counted else None,
        'adaptation': data.adaptation,
        'oracle_every': options.oracle_every,
        'hardware': hardware(options.torch_device),
        'versions': versions(),
        'commit': source_commit(),
    }
    if blueprint_of(task.model) is not None:
        save_trained(task, data, folder / 'model.safetensors')
    # Written last, because it marks the run as finished.
    write_whole(folder / _RECORD, json.dumps(record, indent=1))
    return record


def check_oracle(folder: Path, options: RunOptions) -> dict[str, Any] | None:
    """The record of a finished training run that has the requested candidates.

    Returns:
        None if the training run is not finished.

    Raises:
        ConfigError: If it kept other candidates, or the record is damaged.
    """
    path = folder / _RECORD
    if not path.is_file():
        return None
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
        kept = {name: record[name] for name in _RECORDED}['oracle_every']
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f'{path} is not a record of a training run ({type(error).__name__}: {error}): remove '
            'it, and training resumes from the last checkpoint'
        ) from error
    if options.oracle_every not in (None, kept):
        raise ConfigError(
            f'{folder} was trained with oracle_every={kept}, but oracle_every is now '
            f'{options.oracle_every}: choose another output folder, or remove this one'
        )
    return record


def load_weights(task: TrainingTask, path: Path) -> None:
    """Load the weights of a checkpoint, checked against the model."""
    check_checkpoint(path)
    content = torch.load(path, map_location='cpu', weights_only=True)
    task.on_load_checkpoint(content)
    task.load_state_dict(content['state_dict'], strict=False)


def candidates(folder: Path) -> dict[int, Path]:
    """Checkpoints that may be the best on an unseen domain, by step."""
    return {_step_of(path): path for path in sorted((folder / 'candidates').glob('*.ckpt'))}


def _for_runner(recipe: Mapping[str, Any], folder: Path, options: RunOptions) -> dict[str, Any]:
    """The recipe, with checkpoints in the folder of the run and without test sets."""
    values: dict[str, Any] = copy.deepcopy(dict(recipe))
    data = values['data'].setdefault('init_args', {})
    data |= {'unseen': {}, 'source_test': None, 'num_workers': workers_of(recipe, options)}
    trainer = values['trainer'] = dict(values.get('trainer') or {})
    checkpoints = 'lightning.pytorch.callbacks.ModelCheckpoint'
    given = callbacks_of(trainer)
    callbacks = [callback for callback in given if _name_of(callback) not in _OWN_CALLBACKS]
    callbacks.append(
        {
            'class_path': checkpoints,
            'init_args': {
                'dirpath': str(folder),
                'filename': 'last',
                'every_n_train_steps': options.checkpoint_every or _checkpoint_every(given),
                'enable_version_counter': False,
            },
        }
    )
    # CSVLogger would delete the metrics of an earlier session in the same folder.
    session = sum(1 for _ in folder.glob('logs/session*'))
    trainer |= {
        'accelerator': options.torch_device.type,
        'devices': 1 if options.torch_device.index is None else [options.torch_device.index],
        'use_distributed_sampler': False,
        'default_root_dir': str(folder),
        'logger': {
            'class_path': 'lightning.pytorch.loggers.CSVLogger',
            'init_args': {'save_dir': str(folder), 'name': 'logs', 'version': f'session{session}'},
        },
        'callbacks': callbacks,
        'enable_progress_bar': options.progress and trainer.get('enable_progress_bar') is not False,
        'enable_model_summary': False,
    }
    return values


def check_devices(recipe: Mapping[str, Any]) -> None:
    """Refuse a recipe for several devices, as a run of the benchmark uses one.

    Raises:
        ConfigError: If `devices` of its trainer says otherwise.
    """
    devices = (recipe.get('trainer') or {}).get('devices', 1)
    if devices in (1, '1', 'auto') or (isinstance(devices, list) and len(devices) == 1):
        return
    raise ConfigError(
        f'devices of the trainer is {devices!r}, but each run uses one device: leave it out, and '
        'raise batch_size or accumulate_grad_batches instead'
    )


def workers_of(recipe: Mapping[str, Any], options: RunOptions) -> int:
    """Number of worker processes: as requested, or as in the recipe."""
    if options.num_workers is not None:
        return options.num_workers
    named: int = recipe['data'].get('init_args', {}).get('num_workers', 0)
    return named


def device_of(recipe: Mapping[str, Any], options: RunOptions) -> str:
    """The requested device, or that of the recipe's accelerator."""
    if options.device is not None:
        return options.device
    accelerator: str = (recipe.get('trainer') or {}).get('accelerator', 'auto')
    return {'gpu': 'cuda'}.get(accelerator, accelerator)


def _checkpoint_every(callbacks: Sequence[Mapping[str, Any]]) -> int:
    """Steps between checkpoints, as set in a recipe."""
    for callback in callbacks:
        if _name_of(callback) == 'ModelCheckpoint':
            every = callback.get('init_args', {}).get('every_n_train_steps')
            if every:
                return int(every)
    return _CHECKPOINT_EVERY


def _name_of(callback: Mapping[str, Any]) -> str:
    return str(callback['class_path']).rpartition('.')[2]


def _step_of(path: Path) -> int:
    content = torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    step = content.get('global_step')
    if not isinstance(step, int):
        raise CheckpointError(f'{path} does not store its step: remove the file and run again')
    return step


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock the folder of a training run for one process; the lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / '.lock').open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(
                f'{folder}: another process is working there: wait for it, or meanwhile run other '
                'seeds, methods or sources'
            ) from error
        yield
