"""Chooses who maps many scenes: this process, processes of this machine, or a Ray cluster.

Only the names of scenes and a picklable request are sent to workers. Each loads the model once.
"""

from dataclasses import dataclass
from typing import Literal

from crossearth.errors import ConfigError
from crossearth.inference.crew import Crew, Failure, Loader, Model, map_task
from crossearth.inference.outcomes import Outcome
from crossearth.inference.process_crew import ProcessCrew
from crossearth.inference.ray_crew import RayCrew
from crossearth.inference.request import MapRequest
from crossearth.inference.scene_sources import Task

__all__ = ['Engine', 'Workers', 'start_crew']

type Engine = Literal['processes', 'ray']


@dataclass(frozen=True, slots=True)
class Workers:
    """Who maps many scenes.

    Args:
        count: Number of processes or actors. 1 with `'processes'` maps scenes in this process.
        engine: `'processes'`, or `'ray'`, which needs `crossearth[scale]`.
        address: Address of a Ray cluster; None starts one on this machine.

    Raises:
        ConfigError: If the count is below 1, or the engine is unknown.
    """

    count: int = 1
    engine: Engine = 'processes'
    address: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise ConfigError(f'{self.count} workers: expected a whole number of at least 1')
        if self.engine not in ('processes', 'ray'):
            raise ConfigError(f"engine is {self.engine!r}: choose 'processes' or 'ray'")


def start_crew(load: Loader, request: MapRequest, workers: Workers) -> Crew:
    """The crew that `workers` describes.

    Args:
        load: Makes the model, once in each worker.
        request: What to do with every scene.
        workers: How many, and where.

    Raises:
        ConfigError: If Ray is needed and not installed, or the loader cannot be sent.
    """
    if workers.engine == 'ray':
        return RayCrew(load, request, workers.count, address=workers.address)
    if workers.count == 1:
        return _Alone(load, request)
    return ProcessCrew(load, request, workers.count)


class _Alone:
    """This process."""

    def __init__(self, load: Loader, request: MapRequest) -> None:
        self._load, self._request = load, request
        self._model: Model | None = None
        self.model_id = ''
        self._task: Task | None = None

    def __enter__(self) -> '_Alone':
        self._model = self._load()
        self.model_id = self._request.model_id_of(self._model)
        return self

    def __exit__(self, *error: object) -> None:
        self._model = None

    def give(self, task: Task) -> None:
        self._task = task

    def take(self) -> list[tuple[Task, Outcome | Failure]]:
        assert self._task is not None
        assert self._model is not None
        return [(self._task, map_task(self._model, self._request, self._task))]
