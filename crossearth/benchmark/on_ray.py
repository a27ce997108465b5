"""One list of runs, worked through by the machines of a Ray cluster.

Ray decides where a run is made. What is made is decided as everywhere: a finished run is left
alone, a stopped one resumes, and a lock keeps two processes out of one run. The output folder, the
data and the files of weights must have the same paths on all machines.
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
    """Make each run as a task of Ray, with one GPU where the cluster has some, else with one core.

    A task whose worker dies is started again by Ray, and resumes from its last checkpoint.

    Args:
        runs: What to train and score.
        options: `ray` is the address of the cluster, or `'local'` for one of this machine, which
            ends with the call.
        work: Function of a module that makes runs, and returns what kept it from some.

    Raises:
        ConfigError: If Ray is not installed or cannot be reached, or if a run failed. The other
            runs are made all the same.
    """
    try:
        ray: Any = import_module('ray')  # untyped: checked alike where Ray is not installed
    except ImportError as error:
        raise ConfigError(
            "Ray is not installed: pip install 'crossearth[scale]', or leave --ray out"
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
                f'{options.ray}: no Ray cluster answers there ({error}); start one with ray start '
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
            except ray.exceptions.RayError as error:
                problem = f'{type(error).__name__}: {error}'
            options.say(f'{run}: {problem or "finished"}')
            failed += [f'{run}: {problem}'] if problem else []
    finally:
        if ours:
            ray.shutdown()
    if failed:
        raise ConfigError(
            f'{len(failed)} of {len(runs)} runs failed, first {failed[0]}; what is finished is '
            'kept, and the same command continues'
        )


def _work(
    work: 'Callable[[Sequence[Run], RunOptions], Sequence[CrossEarthError]]',
    run: 'Run',
    options: 'RunOptions',
    folder: str,
    modules: list[str],
) -> str:
    """Make a run where Ray put this process; what went wrong, or nothing."""
    os.chdir(folder)  # relative paths of recipes are meant from here
    sys.path.extend(path for path in modules if path not in sys.path)
    try:
        busy = work([run], options)
    except CrossEarthError as error:
        return str(error)
    return str(busy[0]) if busy else ''


def _say_nothing(line: str) -> None:
    """Lines of other machines are not shown."""
