"""Which training runs learn the same: a fingerprint of what their recipes say.

What cannot change a result is declared where it is defined. A class or function names the arguments
that have no effect on what is learnt in an attribute `no_effect`, or `'all'` if it only watches, as
a callback that saves pictures does. What is not declared counts, so an own class is on the safe
side. Lightning's classes cannot be marked there, and are listed here by their full names.
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

# Sections of a recipe that say where to begin, what to show, and which of several seeds it is.
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
    """Eight digits that tell training runs apart that learn different things.

    What is declared to have no effect is left out. The path of a file stands for its content: a
    copy of the same weights makes no difference, other weights under the same name do. Folders
    stand for themselves.

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
    """The callbacks of a section `trainer` as parts, in whatever form they are given."""
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
    """A value without what has no effect; `_IDLE` for what has none at all."""
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
    """Names of arguments that have no effect, or `'all'`."""
    if path in _NO_EFFECT:
        return _NO_EFFECT[path]
    module, _, name = path.rpartition('.')
    try:
        declared = getattr(getattr(import_module(module), name), 'no_effect', ())
    except (ImportError, AttributeError, ValueError):
        return frozenset()  # the parser of recipes will say what is wrong with it
    return declared if isinstance(declared, str) else frozenset(declared)


def _content(word: str) -> str:
    """The digest of the file that a word names; the word itself if it names none."""
    file = Path(word)
    if '.' not in file.name:  # nor do folders with a dot make one of a name
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
    """SHA-256 of a file; read again only when its size or time of change differs."""
    with Path(path).open('rb') as file:
        return f'sha256:{hashlib.file_digest(file, "sha256").hexdigest()}'
