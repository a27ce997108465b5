"""Workers that are processes of this machine.

Each worker has its own pipe to the process that started it. So if one ends, it is known which one,
and which task it had. A worker always ends when its parent does, whatever the cause.
"""

import multiprocessing
import os
import pickle
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

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

__all__ = ['ProcessCrew']


@dataclass(slots=True, eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection
    is_loaded: bool = False
    task: Task | None = None

    def end(self) -> int | None:
        """End it, at once if it is busy, and return its exit code."""
        self.connection.close()
        if self.task is not None or not self.is_loaded:
            self.process.terminate()
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        return code


class ProcessCrew:
    """Processes that share the threads that torch has in this one.

    Args:
        load: Makes the model.
        request: What to do with every scene.
        count: Number of processes.

    Raises:
        ConfigError: If `load` cannot be sent to another process.
    """

    def __init__(self, load: Loader, request: MapRequest, count: int) -> None:
        try:
            self._load = pickle.dumps(load)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigError(
                f'load cannot be sent to other processes ({error}): pass a function of a module, '
                'or a functools.partial of one'
            ) from error
        self._request, self._count = request, count
        self._threads = max(torch.get_num_threads() // count, 1)
        self._workers: list[_Worker] = []
        self.model_id = ''

    def __enter__(self) -> 'ProcessCrew':
        try:
            # one worker first: a model that cannot be loaded then fails once, not in every worker
            first = self._hire()
            self._receive(first)
            for _ in range(1, self._count):
                self._hire()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.connection.close()  # idle workers then end at the same time
        while self._workers:
            self._workers.pop().end()

    def give(self, task: Task) -> None:
        """Hand over a task to a worker that has none."""
        free = [worker for worker in self._workers if worker.task is None]
        worker = next((one for one in free if one.is_loaded), None) or (free or [self._hire()])[0]
        try:
            worker.connection.send(task)
        except OSError:  # the worker ended while it was idle
            self._dismiss(worker)
            self.give(task)
            return
        worker.task = task

    def take(self) -> list[tuple[Task, Outcome | Failure]]:
        """Wait for results."""
        results: list[tuple[Task, Outcome | Failure]] = []
        while not results:
            ready = wait([worker.connection for worker in self._workers])
            for worker in [one for one in self._workers if one.connection in ready]:
                result = self._receive(worker)
                if result is not None and worker.task is not None:
                    results.append((worker.task, result))
                    worker.task = None
        return results

    def _hire(self) -> _Worker:
        # a forked process would inherit locks of GDAL's and torch's threads, and could hang
        context = multiprocessing.get_context('spawn')
        here, there = context.Pipe()
        process = context.Process(
            target=_work, args=(there, self._load, self._request, self._threads)
        )
        process.start()
        # while this end is open here, the pipe would not tell that the worker has ended
        there.close()
        worker = _Worker(process, here)
        self._workers.append(worker)
        return worker

    def _dismiss(self, worker: _Worker) -> int | None:
        self._workers.remove(worker)
        return worker.end()

    def _receive(self, worker: _Worker) -> Outcome | Failure | None:
        """The result of a worker, None if it reports that it is ready, or a failure if it ended.

        Raises:
            Exception: The loader's exception, if loading failed.
        """
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            # wait first, so that the exit code is the worker's own and not that of `terminate`
            worker.process.join()
            code = self._dismiss(worker)
            if not worker.is_loaded:
                raise ConfigError(
                    f'a worker ended with exit code {code} before it had loaded the model: read '
                    'its output above. It may lack memory for so many workers. A script that '
                    "starts workers must put its code under if __name__ == '__main__':"
                ) from None
            return Failure('died', f'the worker died with exit code {code}')
        if isinstance(message, Unloadable):
            raise message.error()
        if isinstance(message, Loaded):
            worker.is_loaded, self.model_id = True, message.model_id
            return None
        assert isinstance(message, Outcome | Failure)
        return message


def _work(connection: Connection, load: bytes, request: MapRequest, threads: int) -> None:
    """Serve tasks until the pipe is closed."""
    _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    torch.set_num_threads(threads)
    loaded = load_packed(load, request)
    try:
        if isinstance(loaded, Unloadable):
            connection.send(loaded)
            return
        connection.send(Loaded(None, loaded.model_id))
        assert loaded.model is not None
        while True:
            connection.send(map_task(loaded.model, request, connection.recv()))
    except (EOFError, ConnectionError):  # the parent has ended, or asks this worker to end
        return


def _end_with_parent() -> None:
    """End this process as soon as its parent has ended, even in the middle of a scene.

    It waits for an object that the parent holds open. The operating system closes it when the
    parent ends, on every platform and for every cause.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
