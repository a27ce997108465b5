"""Receipts next to maps, which tell the next run over many scenes what is left to do."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossearth import __version__
from crossearth.inference.outcomes import Outcome
from crossearth.inference.request import MapRequest
from crossearth.inference.scene_sources import Task
from crossearth.inference.writer import write_text

__all__ = ['Provenance', 'SceneReceipt', 'read_provenance']


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a map was made from.

    Args:
        scene: Path of the scene, or the name that GDAL opens.
        model_id: Identifies the model.
        version: Version of this library.
        seen: How the model saw the scene, in one line.
    """

    scene: str
    model_id: str
    version: str
    seen: str


def read_provenance(map_path: Path) -> Provenance | None:
    """The receipt of a map; None if there is none, or it belongs to another map."""
    receipt = _read_json(_receipt_of(map_path))
    if receipt is None or receipt['bytes'] != map_path.stat().st_size:
        return None
    outcome = receipt['outcome']
    scene = receipt.get('scene')
    if scene is None:  # the receipt is from an earlier version
        scene = outcome['scene']
    elif not _is_elsewhere(scene):
        scene = str(map_path.parent / scene)
    return Provenance(
        scene,
        receipt.get('model_id', ''),
        receipt.get('version', ''),
        outcome.get('seen', ''),
    )


def _is_elsewhere(scene: str) -> bool:
    return '://' in scene or scene.startswith('/vsi')


def _seen_from(scene: str, folder: Path) -> str:
    """A scene by its path from a folder, so that both can be moved together."""
    return (
        scene if _is_elsewhere(scene) else os.path.relpath(Path(scene).resolve(), folder.resolve())
    )


def _receipt_of(map_path: Path) -> Path:
    return map_path.with_name(f'{map_path.name}.receipt.json')


class SceneReceipt:
    """What earlier runs left next to a map: a receipt, or a list of failures.

    Args:
        task: The scene and its map.
        request: What to make. Maps of another request do not count.
        model_id: Identifies the model. Maps of another model do not count.
    """

    def __init__(self, task: Task, request: MapRequest, model_id: str) -> None:
        self._task = task
        scene = Path(task.scene)
        state = scene.stat() if scene.is_file() else None
        # size and time stand for the pixels, because a digest of them would read the whole scene
        described = json.dumps(
            [
                task.scene,
                None if state is None else [state.st_size, state.st_mtime_ns],
                model_id,
                request.digest(),
            ]
        )
        self._key = hashlib.sha256(described.encode()).hexdigest()
        self._model_id = model_id
        self._further = tuple(request.outputs.named(task.file_name).further.values())
        self._receipt = _receipt_of(task.destination)
        self._failures = task.destination.with_name(f'{task.destination.name}.failures.json')

    def present(self) -> Outcome | None:
        """The outcome `'present'` if an earlier or parallel run has made the map."""
        task = self._task
        receipt = _read_json(self._receipt)
        if (
            receipt is not None
            and receipt['key'] == self._key
            and task.destination.exists()
            and task.destination.stat().st_size == receipt['bytes']
            and all(path.exists() for path in self._further)
        ):
            return Outcome(
                task.scene, str(task.destination), 'present', lost=receipt['outcome']['lost']
            )
        return None

    def settled(self, *, max_failures: int, retry: bool) -> Outcome | None:
        """The outcome of an earlier run, if nothing is left to do."""
        task = self._task
        known = self.present()
        if known is not None:
            return known
        failures = _read_json(self._failures)
        if failures is None or failures['key'] != self._key or retry:
            self.forget_failures()
            return None
        if len(failures['errors']) < max_failures:
            return None
        return Outcome(
            task.scene, str(task.destination), 'quarantined', error=failures['errors'][-1]
        )

    def write_done(self, outcome: Outcome) -> None:
        """Record that the map is complete, and forget the failures."""
        size = self._task.destination.stat().st_size
        content = {
            'key': self._key,
            'bytes': size,
            'outcome': asdict(outcome),
            'scene': _seen_from(self._task.scene, self._task.destination.parent),
            'model_id': self._model_id,
            'version': __version__,
        }
        _write_json(self._receipt, content)
        self.forget_failures()

    def forget_failures(self) -> None:
        """Forget the failures, because they were not the fault of the scene."""
        self._failures.unlink(missing_ok=True)

    def write_failure(self, error: str) -> int:
        """Record a failure, and return how many there are now."""
        failures = _read_json(self._failures) or {'errors': []}
        errors = [*failures['errors'], error]
        _write_json(self._failures, {'key': self._key, 'errors': errors})
        return len(errors)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file so that it is complete or missing. A killed run's leftover is reused.

    Unlike in `whole_file`, the temporary name is always the same. A scene with a receipt is not
    visited again, so nobody would remove leftovers with other names.
    """
    hidden = path.with_name(f'.{path.name}')
    write_text(hidden, json.dumps(content))
    hidden.replace(path)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) and 'key' in content else None
