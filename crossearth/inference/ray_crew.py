"""Workers that are actors of a Ray cluster."""

from importlib import import_module
from typing import Any

from crossearth.errors import ConfigError
from crossearth.inference.crew import (
    Failure,
    Loaded,
    Loader,
    Unloadable,
    load_packed,
    map_task,
)
from crossearth.inference.outcomes import Outcome
from crossearth.inference.request import MapRequest
from crossearth.inference.scene_sources import Task

__all__ = ['RayCrew']


class RayCrew:
    """Actors of a Ray cluster, each with the model and, if there are enough, its own GPU.

    Args:
        load: Makes the model.
        request: What to do with every scene.
        count: Number of actors.
        address: Address of the cluster; None starts one on this machine, which ends with the crew.

    Raises:
        ConfigError: If Ray is not installed, or no cluster answers.
    """

    def __init__(
        self, load: Loader, request: MapRequest, count: int, *, address: str | None
    ) -> None:
        try:
            ray: Any = import_module('ray')  # Any, so that mypy passes with and without Ray
        except ImportError as error:
            raise ConfigError("engine='ray' needs Ray: pip install 'crossearth[scale]'") from error
        self._ray, self._request, self._count, self._address = ray, request, count, address
        # cloudpickle also sends functions of the user's script, by value
        self._load = ray.cloudpickle.dumps(load)
        self._started = False
        self.model_id = ''
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Any, Task]] = {}

    def __enter__(self) -> 'RayCrew':
        try:
            self._connect()
            gpus = self._ray.cluster_resources().get('GPU', 0) >= self._count
            self._new = self._ray.remote(num_cpus=1, num_gpus=int(gpus))(_Actor).remote
            first = self._hire()
            self.model_id = self._model_id_of(first)
            self._idle = [first, *(self._hire() for _ in range(1, self._count))]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for actor in [*self._idle, *(actor for actor, _ in self._busy.values())]:
            self._ray.kill(actor)
        self._idle.clear()
        self._busy.clear()
        if self._started:
            self._ray.shutdown()

    def give(self, task: Task) -> None:
        """Hand over a task to an actor that has none."""
        actor = self._idle.pop(0) if self._idle else self._hire()
        self._busy[actor.map.remote(task)] = (actor, task)

    def take(self) -> list[tuple[Task, Outcome | Failure]]:
        """Wait for a result."""
        (reference, *_), _ = self._ray.wait(list(self._busy), num_returns=1)
        actor, task = self._busy.pop(reference)
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            reason = ' '.join(str(error).split())
            # the actor does not become idle again, so `give` hires another one
            return [(task, Failure('died', f'the worker died: {reason}'))]
        self._idle.append(actor)
        if isinstance(result, Unloadable):
            raise result.error()
        return [(task, result)]

    def _connect(self) -> None:
        ray = self._ray
        if ray.is_initialized():
            return
        try:
            ray.init(
                address=self._address,
                # a local cluster needs room for all actors, or some would wait forever
                num_cpus=self._count if self._address is None else None,
                log_to_driver=False,
                include_dashboard=False,
            )
        except (ConnectionError, ValueError) as error:
            raise ConfigError(
                f'{self._address}: no Ray cluster answers there ({error}): start one with '
                'ray start --head, or leave out the address'
            ) from error
        self._started = True

    def _hire(self) -> Any:
        return self._new(self._load, self._request)

    def _model_id_of(self, actor: Any) -> str:
        try:
            loaded = self._ray.get(actor.load.remote())
        except self._ray.exceptions.RayActorError as error:
            raise ConfigError(
                f'an actor ended before it had loaded the model ({" ".join(str(error).split())}): '
                'check that crossearth is installed on the cluster and that memory is enough'
            ) from error
        if isinstance(loaded, Unloadable):
            raise loaded.error()
        model_id: str = loaded
        return model_id


class _Actor:
    """A worker of the cluster."""

    def __init__(self, load: bytes, request: MapRequest) -> None:
        self._load, self._request = load, request
        self._loaded: Loaded | Unloadable | None = None

    def load(self) -> Unloadable | str:
        """Load the model unless it is loaded, and return its identity, or why loading fails."""
        if self._loaded is None:
            self._loaded = load_packed(self._load, self._request)
        return self._loaded if isinstance(self._loaded, Unloadable) else self._loaded.model_id

    def map(self, task: Task) -> Outcome | Failure | Unloadable:
        """Map a scene."""
        self.load()
        if isinstance(self._loaded, Unloadable):
            return self._loaded
        assert self._loaded is not None
        assert self._loaded.model is not None
        return map_task(self._loaded.model, self._request, task)
