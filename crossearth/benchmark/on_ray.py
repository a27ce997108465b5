"""Works through a list of runs on the machines of a Ray cluster.

Ray decides where a run takes place. Everything else works as on one machine: a finished run is left
alone, a stopped one resumes, and a lock keeps two processes out of one run. The output folder, the
data and the weights must have the same paths on all machines.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossearth.errors import ConfigError, CrossEarthError

if TYPE_CHECKING:
    from crossearth.benchmark.options import RunOptions
    from crossearth.benchmark.runs import Run

__all__ = ['work_on_ray']


def work_on_ray(
    runs: 'Sequence[Run]',
    options: 'RunOptions',
    work: 'Callable[[Sequence[Run], RunOptions], Sequence[CrossEarthError]]',
) -> None:
    """Make each run as a Ray task, with one GPU if the cluster has any, otherwise with one core.

    If the worker of a task dies, Ray starts the task again, and it resumes from its last
    checkpoint.

    Args:
        runs: What to train and score.
        options: `ray` is the address of the cluster, or `'local'` for one on this machine that
            ends with the call.
        work: Module-level function that makes runs, and returns the errors that stopped some.

    Raises:
        ConfigError: If Ray is not installed or cannot be reached, or if a run failed. The other
            runs are still made.
    """
    try:
        ray: Any = import_module('ray')  # Any, so that mypy passes with and without Ray
    except ImportError as error:
        raise ConfigError(
            "Ray is not installed: pip install 'crossearth[scale]', or leave out --ray"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(
                address=options.ray,
                include_dashboard=False,
                log_to_driver=False,
                namespace='crossearth',
            )
        except (ConnectionError, ValueError) as error:
            raise ConfigError(
                f'{options.ray}: no Ray cluster answers there ({error}): start one with ray start '
                "--head, or pass 'local'"
            ) from error
    try:
        gpus = min(ray.cluster_resources().get('GPU', 0), 1)
        task = ray.remote(num_cpus=1, num_gpus=gpus)(_work)
        quiet = replace(
            options,
            output=options.output.absolute(),
            processes=1,
            ray=None,
            progress=False,
            say=_say_nothing,
        )
        waiting: dict[Any, Run] = {
            task.remote(work, run, quiet, str(Path.cwd()), list(sys.path)): run for run in runs
        }
        failed = []
        while waiting:
            (done, *_), _ = ray.wait(list(waiting))
            run = waiting.pop(done)
            try:
                problem = ray.get(done)
            # One lost task must not end the other runs.
            except ray.exceptions.RayError as error:
                problem = f'{type(error).__name__}: {error}'
            options.say(f'{run}: {problem or "finished"}')
            failed += [f'{run}: {problem}'] if problem else []
    finally:
        if ours:
            ray.shutdown()
    if failed:
        raise ConfigError(
            f'{len(failed)} of {len(runs)} runs failed, the first is {failed[0]}: fix the cause, '
            'then repeat the command, which keeps what is finished'
        )


def _work(
    work: 'Callable[[Sequence[Run], RunOptions], Sequence[CrossEarthError]]',
    run: 'Run',
    options: 'RunOptions',
    folder: str,
    modules: list[str],
) -> str:
    """Make a run in this Ray process, and return what went wrong, or an empty string."""
    os.chdir(folder)  # relative paths in recipes refer to this folder
    sys.path.extend(path for path in modules if path not in sys.path)
    try:
        busy = work([run], options)
    except CrossEarthError as error:
        return str(error)
    return str(busy[0]) if busy else ''


def _say_nothing(line: str) -> None:
    """Ignore lines, because those from other machines are not shown."""
