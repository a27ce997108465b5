"""What workers do with a scene, and what all kinds of crews share."""

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from crossearth.errors import BusyError, ConfigError, SceneError, SceneNotFoundError
from crossearth.inference.outcomes import Outcome
from crossearth.inference.predict import map_scene
from crossearth.inference.request import MapRequest
from crossearth.inference.scene_sources import Task

__all__ = ['Crew', 'Failure', 'Loaded', 'Loader', 'Model', 'Unloadable', 'load_packed', 'map_task']

type Model = nn.Module | Callable[[Tensor], Tensor]
type Loader = Callable[[], Model]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a scene has no map.

    Args:
        cause: `'scene'` if the scene cannot be read, `'any'` if the scene, the settings or the
            model may be at fault, `'died'` if the worker ended, or `'busy'` if another process is
            making the same map.
        text: The reason, in one line.
    """

    cause: Literal['scene', 'any', 'died', 'busy']
    text: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that a worker has loaded.

    Args:
        model: The model; None in the message to the process that started the worker.
        model_id: Identifies the model.
    """

    model: Model | None
    model_id: str


@runtime_checkable
class Crew(Protocol):
    """Workers that take tasks and give results, in any order.

    Attributes:
        model_id: Identifies the model, once it is loaded.
    """

    model_id: str

    def __enter__(self) -> 'Crew':
        """Load the model in one worker; the others follow.

        Raises:
            Exception: The loader's exception, if loading fails.
        """

    def __exit__(self, *error: object) -> None: ...

    def give(self, task: Task) -> None:
        """Hand over a task. At most one task per worker may be running."""

    def take(self) -> list[tuple[Task, Outcome | Failure]]:
        """Wait for results.

        Raises:
            Exception: The loader's exception, if loading fails in a worker that starts later.
        """


def map_task(model: Model, request: MapRequest, task: Task) -> Outcome | Failure:
    """Map one scene: its outcome, or why it has no map."""
    try:
        own = replace(request, outputs=request.outputs.named(task.file_name))
        made = map_scene(model, task.scene, task.destination, own)
    except Exception as error:  # noqa: BLE001 - one failing scene must not stop the others
        cause: Literal['scene', 'any', 'busy'] = 'any'
        if isinstance(error, BusyError):
            cause = 'busy'
        elif isinstance(error, SceneError | SceneNotFoundError):
            cause = 'scene'
        return Failure(cause, f'{type(error).__name__}: {" ".join(str(error).split())}')
    return Outcome(
        task.scene,
        str(task.destination),
        'done',
        seconds=round(made.seconds, 3),
        windows_run=made.windows_run,
        lost=len(made.lost),
        seen=made.seen,
    )


class Unloadable:
    """The error of a loader, sent back from a worker.

    Args:
        error: What the loader raised, or what was raised while unpickling it.
    """

    def __init__(self, error: Exception) -> None:
        # a traceback does not survive pickling, so its text is sent as a note
        error.add_note(f'In a worker:\n{"".join(traceback.format_exception(error))}')
        try:
            self._packed = pickle.dumps(error)
            # an exception whose `__init__` needs more than a message fails only when unpickled
            pickle.loads(self._packed)
        except Exception:  # noqa: BLE001 - exceptions of other libraries may not survive pickling
            told = ConfigError(f'the model cannot be loaded ({type(error).__name__}: {error})')
            self._packed = pickle.dumps(told)

    def error(self) -> Exception:
        """The original error if it can be unpickled here, otherwise a `ConfigError` about it."""
        error = pickle.loads(self._packed)
        assert isinstance(error, Exception)
        return error


def load_packed(packed: bytes, request: MapRequest) -> Loaded | Unloadable:
    """Load the model with a pickled loader, or return why that fails."""
    try:
        load: Loader = pickle.loads(packed)
        model = load()
        return Loaded(model, request.model_id_of(model))
    except Exception as error:  # noqa: BLE001 - every error is raised again in the user's process
        return Unloadable(error)
