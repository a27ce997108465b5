"""Tells which training runs learn the same thing, by a fingerprint of their recipes.

Arguments that cannot change a result are declared where they are defined. A class or function lists
them in an attribute `no_effect`, or sets it to `'all'` if it only watches, like a callback that
saves pictures. Everything else counts, so your own classes are safe by default. Lightning's classes
cannot carry the attribute, so they are listed here by their full names.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ['callbacks_of', 'fingerprint']

# Sections of a recipe that only set where to begin, what to show, and which seed to use.
_RECIPE = frozenset({'seed_everything', 'pictures', 'ckpt_path', 'verbose', 'weights_only'})
_IDLE = object()
_TRAINER = 'lightning.pytorch.Trainer'
_CALLBACKS = 'lightning.pytorch.callbacks'
_NO_EFFECT: Mapping[str, frozenset[str] | str] = MappingProxyType(
    {
        _TRAINER: frozenset(
            {
                'accelerator', 'devices', 'logger', 'default_root_dir', 'enable_progress_bar',
                'enable_model_summary', 'enable_checkpointing', 'log_every_n_steps', 'profiler',
            }
        ),
        **{
            f'{_CALLBACKS}.{name}': 'all'
            for name in (
                'DeviceStatsMonitor', 'LearningRateMonitor', 'ModelCheckpoint', 'ModelSummary',
                'RichModelSummary', 'RichProgressBar', 'Timer', 'TQDMProgressBar',
            )
        },
    }
)  # fmt: skip


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that differ between training runs that learn different things.

    What is declared to have no effect is left out. The path of a file counts by the file's content:
    a copy of the same weights makes no difference, but other weights under the same name do.
    Folders count by their path.

    Args:
        recipe: Values of a recipe.

    Example:
        >>> from crossearth.benchmark import training_recipe
        >>> one = training_recipe('potsdam_irrg', seed=0)
        >>> fingerprint(one) == fingerprint(training_recipe('potsdam_irrg', seed=1))
        True
        >>> fingerprint(one) == fingerprint(training_recipe('potsdam_irrg', 'rein'))
        False
    """
    kept = {key: value for key, value in recipe.items() if key not in _RECIPE}
    if 'trainer' in kept:
        kept['trainer'] = {'class_path': _TRAINER, 'init_args': _trainer(kept['trainer'] or {})}
    text = json.dumps(_essence(kept), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def callbacks_of(trainer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The callbacks of a `trainer` section as a list of parts, in whatever form they are given."""
    given = trainer.get('callbacks') or []
    return [
        {'class_path': callback} if isinstance(callback, str) else callback
        for callback in (given if isinstance(given, list | tuple) else [given])
    ]


def _trainer(given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the trainer, with its callbacks as parts."""
    arguments = {key: value for key, value in given.items() if key != 'callbacks'}
    callbacks = callbacks_of(given)
    return arguments | ({'callbacks': callbacks} if callbacks else {})


def _essence(node: Any) -> Any:
    """A value without the parts that have no effect; `_IDLE` if nothing else is left."""
    if isinstance(node, Mapping):
        path = node.get('class_path')
        if isinstance(path, str):
            idle = _no_effect(path)
            if idle == 'all':
                return _IDLE
            given = node.get('init_args') or {}
            acting = {key: value for key, value in given.items() if key not in idle}
            return {'class_path': path, 'init_args': _essence(acting)}
        parts = {key: _essence(value) for key, value in node.items()}
        return {key: value for key, value in parts.items() if value is not _IDLE}
    if isinstance(node, list | tuple):
        kept = [part for part in map(_essence, node) if part is not _IDLE]
        return kept if kept or not node else _IDLE
    return _content(node) if isinstance(node, str) else node


def _no_effect(path: str) -> frozenset[str] | str:
    """Names of the arguments that have no effect, or `'all'`."""
    if path in _NO_EFFECT:
        return _NO_EFFECT[path]
    module, _, name = path.rpartition('.')
    try:
        declared = getattr(getattr(import_module(module), name), 'no_effect', ())
    except (ImportError, AttributeError, ValueError):
        return frozenset()  # the parser of recipes will report what is wrong with it
    return declared if isinstance(declared, str) else frozenset(declared)


def _content(word: str) -> str:
    """The digest of the file that a string names, or the string itself if it names no file."""
    file = Path(word)
    if '.' not in file.name:  # the files that matter, weights and styles, have a suffix
        return word
    try:
        if not file.is_file():
            return word
        about = file.stat()
    except (OSError, ValueError):
        return word
    return _digest(str(file.resolve()), about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest(path: str, size: int, mtime_ns: int) -> str:  # noqa: ARG001  # keys of the cache
    """SHA-256 of a file; read again only if its size or modification time has changed."""
    with Path(path).open('rb') as file:
        return f'sha256:{hashlib.file_digest(file, "sha256").hexdigest()}'
