"""Many scenes, on the processes of one machine or the actors of a Ray cluster.

Tasks are names: pixels never travel. A worker loads the model once. A scene that failed is tried
again, and after some failures is left alone until it is asked for; what is done has a receipt
beside its map, and is not done again.
"""

import hashlib
import json
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.inference.predict import predict_scene
from crossearth.inference.sources import Task
from crossearth.inference.writer import whole_file

__all__ = ['Engine', 'Outcome', 'Summary', 'predict_scenes']

type Engine = Literal['processes', 'ray']
type Loader = Callable[[], nn.Module | Callable[[Tensor], Tensor]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a scene.

    Args:
        scene: Its name.
        destination: Its map.
        status: `'done'` now, `'present'` from an earlier run, `'failed'` now and to be tried in
            the next run, or `'quarantined'`: it failed too often.
        seconds: Time that the map took.
        windows_run: Windows that the model saw.
        lost: Number of blocks that could not be read.
        error: The last failure, in one line.
    """

    scene: str
    destination: str
    status: Literal['done', 'present', 'failed', 'quarantined']
    seconds: float = 0.0
    windows_run: int = 0
    lost: int = 0
    error: str = ''


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of all scenes, in the order they were given."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    def count(self, status: str) -> int:
        """Number of scenes with a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def __str__(self) -> str:
        """A line of numbers, and one for every scene that has no map or lost blocks."""
        windows = sum(outcome.windows_run for outcome in self.outcomes)
        states = ('done', 'present', 'failed', 'quarantined')
        lines = [
            ', '.join(f'{self.count(state)} {state}' for state in states)
            + f'; {windows} windows in {self.seconds:.1f} s'
        ]
        for outcome in self.outcomes:
            if outcome.error:
                lines.append(f'{outcome.status}: {outcome.scene}: {outcome.error}')
            elif outcome.lost:
                lines.append(f'{outcome.lost} blocks lost: {outcome.scene}')
        return '\n'.join(lines)


def predict_scenes(
    load: Loader,
    tasks: Sequence[Task],
    *,
    settings: Mapping[str, Any],
    model_id: str = '',
    workers: int = 1,
    engine: Engine = 'processes',
    address: str | None = None,
    shard: tuple[int, int] | None = None,
    max_failures: int = 2,
    retry: bool = False,
    progress: Callable[[Outcome], None] | None = None,
) -> Summary:
    """Map many scenes; one that fails does not keep the others.

    Args:
        load: Makes the model, once in each worker; it has to be picklable, as a function of a
            module or a `functools.partial` of one is.
        tasks: Scenes and their maps, see `tasks_of`.
        settings: Arguments of `predict_scene`, the same for all.
        model_id: What tells the model from others, such as a checksum of its weights: maps of
            another are made again.
        workers: Processes or actors. With 1 and `'processes'`, scenes are mapped in this process.
        engine: `'ray'` needs the extra `scale`.
        address: Of a Ray cluster; None starts one on this machine.
        shard: `(i, n)` maps every n-th scene from the i-th, counted from 1, for job arrays.
        max_failures: Failures after which a scene is quarantined, those of earlier runs counted.
        retry: Whether quarantined scenes get another chance.
        progress: Called with each outcome.

    Returns:
        What became of every scene of the shard.

    Raises:
        ConfigError: If an argument has no meaning, or Ray is not installed.
    """
    start = time.perf_counter()
    if workers < 1 or max_failures < 1:
        raise ConfigError(
            f'workers is {workers}, max_failures is {max_failures}: expected at least 1 each'
        )
    if shard is not None:
        if not 1 <= shard[0] <= shard[1]:
            raise ConfigError(f'shard is {shard}: expected (i, n), counted from 1')
        tasks = tasks[shard[0] - 1 :: shard[1]]
    for folder in {task.destination.parent for task in tasks}:
        folder.mkdir(parents=True, exist_ok=True)
    outcomes: dict[Task, Outcome] = {}

    def settle(task: Task, outcome: Outcome) -> None:
        outcomes[task] = outcome
        if progress is not None:
            progress(outcome)

    todo: deque[Task] = deque()
    for task in tasks:
        record = _Record(task, settings, model_id)
        known = record.settled(max_failures=max_failures, retry=retry)
        if known is None:
            todo.append(task)
        else:
            settle(task, known)
    with _crew(load, settings, workers, engine, address) as crew:
        for task, result in _work_off(crew, todo, settings, model_id, workers, max_failures):
            settle(task, result)
    return Summary(tuple(outcomes[task] for task in tasks), time.perf_counter() - start)


def _work_off(
    crew: '_Crew',
    todo: deque[Task],
    settings: Mapping[str, Any],
    model_id: str,
    workers: int,
    max_failures: int,
) -> Iterator[tuple[Task, Outcome]]:
    alone: deque[Task] = deque()
    under_way, by_itself = 0, False
    while todo or alone or under_way:
        while todo and under_way < workers and not by_itself:
            crew.give(todo.popleft())
            under_way += 1
        if alone and under_way == 0:
            # what may have killed a worker runs again by itself: none is blamed for another
            crew.give(alone.popleft())
            under_way, by_itself = 1, True
        for task, result in crew.take():
            under_way -= 1
            record = _Record(task, settings, model_id)
            if isinstance(result, Outcome):
                record.write_done(result)
                yield task, result
            elif isinstance(result, _Died) and not by_itself:
                alone.append(task)
            elif record.write_failure(str(result)) < max_failures:
                (alone if isinstance(result, _Died) else todo).append(task)
            else:
                error = str(result)
                yield task, Outcome(task.scene, str(task.destination), 'quarantined', error=error)
        by_itself = by_itself and under_way > 0


class _Died(str):
    """Why a worker is no more."""

    __slots__ = ()


class _Record:
    """What earlier runs left beside a map: a receipt, or a list of failures."""

    def __init__(self, task: Task, settings: Mapping[str, Any], model_id: str) -> None:
        self._task = task
        scene = Path(task.scene)
        state = scene.stat() if scene.is_file() else None
        described = json.dumps(
            [
                task.scene,
                None if state is None else [state.st_size, state.st_mtime_ns],
                model_id,
                sorted((k, str(v)) for k, v in settings.items()),
            ]
        )
        self._key = hashlib.sha256(described.encode()).hexdigest()
        name = task.destination.name
        self._receipt = task.destination.with_name(f'{name}.receipt.json')
        self._failures = task.destination.with_name(f'{name}.failures.json')

    def settled(self, *, max_failures: int, retry: bool) -> Outcome | None:
        """The outcome of an earlier run, if there is nothing left to do."""
        task = self._task
        receipt = _read_json(self._receipt)
        if (
            receipt is not None
            and receipt['key'] == self._key
            and task.destination.exists()
            and task.destination.stat().st_size == receipt['bytes']
        ):
            return Outcome(
                task.scene, str(task.destination), 'present', lost=receipt['outcome']['lost']
            )
        failures = _read_json(self._failures)
        if failures is None or failures['key'] != self._key or retry:
            self._failures.unlink(missing_ok=True)
            return None
        if len(failures['errors']) < max_failures:
            return None
        return Outcome(
            task.scene, str(task.destination), 'quarantined', error=failures['errors'][-1]
        )

    def write_done(self, outcome: Outcome) -> None:
        size = self._task.destination.stat().st_size
        with whole_file(self._receipt) as path:
            content = {'key': self._key, 'bytes': size, 'outcome': asdict(outcome)}
            path.write_text(json.dumps(content), encoding='utf-8')
        self._failures.unlink(missing_ok=True)

    def write_failure(self, error: str) -> int:
        """Note a failure; how many there are now."""
        failures = _read_json(self._failures) or {'errors': []}
        errors = [*failures['errors'], error]
        with whole_file(self._failures) as path:
            path.write_text(json.dumps({'key': self._key, 'errors': errors}), encoding='utf-8')
        return len(errors)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content


def _map_one(
    model: nn.Module | Callable[[Tensor], Tensor], settings: Mapping[str, Any], task: Task
) -> Outcome | str:
    """The outcome of a scene, or its failure in one line."""
    try:
        made = predict_scene(model, task.scene, task.destination, **settings)
    except Exception as error:  # noqa: BLE001 - any scene may fail in its own way, others go on
        return f'{type(error).__name__}: {" ".join(str(error).split())}'
    return Outcome(
        task.scene,
        str(task.destination),
        'done',
        seconds=round(made.seconds, 3),
        windows_run=made.windows_run,
        lost=len(made.lost),
    )


@runtime_checkable
class _Crew(Protocol):
    """Workers that take tasks and give results, in any order."""

    def __enter__(self) -> '_Crew': ...

    def __exit__(self, *error: object) -> None: ...

    def give(self, task: Task) -> None: ...

    def take(self) -> list[tuple[Task, Outcome | str]]: ...


def _crew(
    load: Loader,
    settings: Mapping[str, Any],
    workers: int,
    engine: Engine,
    address: str | None,
) -> _Crew:
    if engine == 'ray':
        return _RayCrew(load, settings, workers, address)
    if engine != 'processes':
        raise ConfigError(f"engine is {engine!r}: choose 'processes' or 'ray'")
    if workers == 1:
        return _Alone(load, settings)
    return _Processes(load, settings, workers)


class _Alone:
    """This process."""

    def __init__(self, load: Loader, settings: Mapping[str, Any]) -> None:
        self._load, self._settings = load, settings
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
        return [(self._task, _map_one(self._model, self._settings, self._task))]


_worker_model: nn.Module | Callable[[Tensor], Tensor] | None = None


def _start_worker(load: Loader, threads: int) -> None:
    global _worker_model
    torch.set_num_threads(threads)
    _worker_model = load()


def _run_in_worker(settings: Mapping[str, Any], task: Task) -> Outcome | str:
    assert _worker_model is not None
    return _map_one(_worker_model, settings, task)


class _Processes:
    """Processes that share the threads that torch was given here."""

    def __init__(self, load: Loader, settings: Mapping[str, Any], workers: int) -> None:
        self._load, self._settings, self._workers = load, settings, workers
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
            future = self._pool.submit(_run_in_worker, self._settings, task)
        except BrokenProcessPool:
            self._restart()
            future = self._pool.submit(_run_in_worker, self._settings, task)
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
                results.append((task, _Died(f'the worker died: {error}')))
        if broken and not self._futures:
            self._restart()
        return results

    def _restart(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._pool = self._start()


class _RayCrew:
    """Actors of a Ray cluster, each with the model and, where there are any, a GPU."""

    def __init__(
        self, load: Loader, settings: Mapping[str, Any], workers: int, address: str | None
    ) -> None:
        try:
            ray: Any = import_module('ray')
        except ImportError as error:
            raise ConfigError("engine='ray' needs Ray: pip install 'crossearth[scale]'") from error
        self._ray = ray
        self._load, self._settings = load, settings
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        gpus = 1 if ray.cluster_resources().get('GPU', 0) >= workers else 0
        self._remote = ray.remote(num_cpus=1, num_gpus=gpus)(_Actor)
        self._idle = [self._new() for _ in range(workers)]
        self._busy: dict[Any, tuple[Any, Task]] = {}

    def _new(self) -> Any:
        return self._remote.remote(self._load, self._settings)

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
                results.append((task, _Died(f'the worker died: {reason}')))
                self._idle.append(self._new())
        return results


class _Actor:
    """A worker of the cluster."""

    def __init__(self, load: Loader, settings: Mapping[str, Any]) -> None:
        self._model, self._settings = load(), settings

    def map(self, task: Task) -> Outcome | str:
        return _map_one(self._model, self._settings, task)
