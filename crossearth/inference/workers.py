"""Workers that map scenes: this process, processes of this machine, or actors of a Ray cluster.

Only names of scenes and a picklable request travel. A worker loads the model once.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.inference.outcomes import Outcome
from crossearth.inference.predict import map_scene
from crossearth.inference.request import MapRequest
from crossearth.inference.scene_sources import Task

__all__ = ['Crew', 'Died', 'Engine', 'Loader', 'Workers', 'start_crew']

type Engine = Literal['processes', 'ray']
type Loader = Callable[[], nn.Module | Callable[[Tensor], Tensor]]


@dataclass(frozen=True, slots=True)
class Workers:
    """Who maps many scenes.

    Args:
        count: Processes or actors. With 1 and `'processes'`, scenes are mapped in this process.
        engine: `'ray'` needs the extra `scale`.
        address: Of a Ray cluster; None starts one on this machine.

    Raises:
        ConfigError: If there are none, or the engine is unknown.
    """

    count: int = 1
    engine: Engine = 'processes'
    address: str | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f'{self.count} workers: expected at least 1')
        if self.engine not in ('processes', 'ray'):
            raise ConfigError(f"engine is {self.engine!r}: choose 'processes' or 'ray'")


class Died(str):
    """Why a worker died."""

    __slots__ = ()


def _map_one(
    model: nn.Module | Callable[[Tensor], Tensor], request: MapRequest, task: Task
) -> Outcome | str:
    """The outcome of a scene, or its failure in one line."""
    try:
        made = map_scene(model, task.scene, task.destination, request)
    except Exception as error:  # noqa: BLE001 - any scene may fail in its own way, others continue
        return f'{type(error).__name__}: {" ".join(str(error).split())}'
    return Outcome(
        task.scene,
        str(task.destination),
        'done',
        seconds=round(made.seconds, 3),
        windows_run=made.windows_run,
        lost=len(made.lost),
        seen=made.seen,
    )


@runtime_checkable
class Crew(Protocol):
    """Workers that take tasks and give results, in any order."""

    def __enter__(self) -> 'Crew': ...

    def __exit__(self, *error: object) -> None: ...

    def give(self, task: Task) -> None:
        """Hand over a task, to a worker that has none."""

    def take(self) -> list[tuple[Task, Outcome | str]]:
        """Wait for results: an outcome, or a failure in one line."""


def start_crew(load: Loader, request: MapRequest, workers: Workers) -> Crew:
    """The crew that `workers` describes.

    Args:
        load: Makes the model, once in each worker.
        request: What is asked of every map.
        workers: How many, and where.

    Raises:
        ConfigError: If Ray is asked for and not installed.
    """
    if workers.engine == 'ray':
        return _RayCrew(load, request, workers)
    if workers.count == 1:
        return _Alone(load, request)
    return _Processes(load, request, workers.count)


class _Alone:
    """This process."""

    def __init__(self, load: Loader, request: MapRequest) -> None:
        self._load, self._request = load, request
        self._model: nn.Module | Callable[[Tensor], Tensor] | None = None
        self._task: Task | None = None

    def __enter__(self) -> '_Alone':
        return self

    def __exit__(self, *error: object) -> None:
        self._model = None

    def give(self, task: Task) -> None:
        self._task = task

    def take(self) -> list[tuple[Task, Outcome | str]]:
        assert self._task is not None
        if self._model is None:
            self._model = self._load()
        return [(self._task, _map_one(self._model, self._request, self._task))]


_worker_model: nn.Module | Callable[[Tensor], Tensor] | None = None


def _start_worker(load: Loader, threads: int) -> None:
    global _worker_model
    torch.set_num_threads(threads)
    _worker_model = load()


def _run_in_worker(request: MapRequest, task: Task) -> Outcome | str:
    assert _worker_model is not None
    return _map_one(_worker_model, request, task)


class _Processes:
    """Processes that share the threads that torch was given here."""

    def __init__(self, load: Loader, request: MapRequest, workers: int) -> None:
        self._load, self._request, self._workers = load, request, workers
        self._threads = max(torch.get_num_threads() // workers, 1)
        self._pool = self._start()
        self._futures: dict[Future[Outcome | str], Task] = {}

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers,
            # a forked process would inherit locks of GDAL's and torch's threads
            mp_context=multiprocessing.get_context('spawn'),
            initializer=_start_worker,
            initargs=(self._load, self._threads),
        )

    def __enter__(self) -> '_Processes':
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def give(self, task: Task) -> None:
        try:
            future = self._pool.submit(_run_in_worker, self._request, task)
        except BrokenProcessPool:
            self._restart()
            future = self._pool.submit(_run_in_worker, self._request, task)
        self._futures[future] = task

    def take(self) -> list[tuple[Task, Outcome | str]]:
        finished = wait(self._futures, return_when=FIRST_COMPLETED).done
        results: list[tuple[Task, Outcome | str]] = []
        broken = False
        for future in finished:
            task = self._futures.pop(future)
            try:
                results.append((task, future.result()))
            except BrokenProcessPool as error:
                broken = True
                results.append((task, Died(f'the worker died: {error}')))
        if broken and not self._futures:
            self._restart()
        return results

    def _restart(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._pool = self._start()


class _RayCrew:
    """Actors of a Ray cluster, each with the model and, where there are any, a GPU."""

    def __init__(self, load: Loader, request: MapRequest, workers: Workers) -> None:
        try:
            ray: Any = import_module('ray')
        except ImportError as error:
            raise ConfigError("engine='ray' needs Ray: pip install 'crossearth[scale]'") from error
        self._ray = ray
        self._load, self._request = load, request
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(address=workers.address, log_to_driver=False, include_dashboard=False)
        gpus = 1 if ray.cluster_resources().get('GPU', 0) >= workers.count else 0
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus)(_Actor)
        self._idle = [self._new() for _ in range(workers.count)]
        self._busy: dict[Any, tuple[Any, Task]] = {}

    def _new(self) -> Any:
        return self._remote.remote(self._load, self._request)

    def __enter__(self) -> '_RayCrew':
        return self

    def __exit__(self, *error: object) -> None:
        for actor in [*self._idle, *(actor for actor, _ in self._busy.values())]:
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()

    def give(self, task: Task) -> None:
        actor = self._idle.pop()
        self._busy[actor.map.remote(task)] = (actor, task)

    def take(self) -> list[tuple[Task, Outcome | str]]:
        ready, _ = self._ray.wait(list(self._busy), num_returns=1)
        results: list[tuple[Task, Outcome | str]] = []
        for reference in ready:
            actor, task = self._busy.pop(reference)
            try:
                results.append((task, self._ray.get(reference)))
                self._idle.append(actor)
            except self._ray.exceptions.RayActorError as error:
                reason = ' '.join(str(error).split())
                results.append((task, Died(f'the worker died: {reason}')))
                self._idle.append(self._new())
        return results


class _Actor:
    """A worker of the cluster."""

    def __init__(self, load: Loader, request: MapRequest) -> None:
        self._model, self._request = load(), request

    def map(self, task: Task) -> Outcome | str:
        return _map_one(self._model, self._request, task)
