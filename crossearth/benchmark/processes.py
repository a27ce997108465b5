"""Works through a list of runs with several processes on one machine.

There is no queue. Each process walks the whole list. A lock in the folder of a run keeps the other
processes out, and is released when its process ends. So you can also start commands by hand, or on
several machines that share a file system with working locks.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from crossearth.errors import ConfigError, CrossEarthError

if TYPE_CHECKING:
    from crossearth.benchmark.options import RunOptions
    from crossearth.benchmark.runs import Run

__all__ = ['work_in_processes']


def work_in_processes(
    runs: 'Sequence[Run]', options: 'RunOptions', work: 'Callable[..., object]'
) -> None:
    """Work through the runs with `options.processes` processes.

    Each gets its share of the processor's threads. If there are several GPUs and the options do not
    name one, each process sees one of them, in turn.

    Args:
        runs: What to train and score.
        options: Where and how.
        work: Module-level function, called in each process with all runs and its options.

    Raises:
        ConfigError: If a process failed. The process has printed why.
    """
    spawn = multiprocessing.get_context('spawn')  # CUDA does not work after a fork
    alone = replace(options, processes=1, progress=False)
    named = options.device is not None and ':' in options.device
    gpus = 0 if named else torch.cuda.device_count()
    threads = max((os.cpu_count() or 1) // options.processes, 1)
    processes = [
        spawn.Process(
            target=_work,
            args=(work, runs, alone, threads, i % gpus if gpus > 1 else None),
            name=f'process {i}',
        )
        for i in range(options.processes)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()  # has no effect on a process that has ended
            process.join()
    failed = [process.name for process in processes if process.exitcode]
    if failed:
        raise ConfigError(
            f'{", ".join(failed)} of {options.processes} failed, see above: fix the cause, then '
            'repeat the command, which keeps what is finished'
        )


def _work(
    work: 'Callable[..., object]',
    runs: 'Sequence[Run]',
    options: 'RunOptions',
    threads: int,
    gpu: int | None,
) -> None:
    if gpu is not None:  # must be set before CUDA is first used
        seen = os.environ.get('CUDA_VISIBLE_DEVICES')
        os.environ['CUDA_VISIBLE_DEVICES'] = str(gpu) if seen is None else seen.split(',')[gpu]
    torch.set_num_threads(threads)
    try:
        work(runs, options)
    except CrossEarthError as error:
        sys.stderr.write(f'crossearth: {error}\n')
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
