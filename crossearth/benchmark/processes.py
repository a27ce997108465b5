"""One list of runs, worked through by several processes of one machine.

There is no queue: each process walks the whole list, and a lock in the folder of a run, which ends
with its process, keeps the others away. The same holds for commands that are started by hand, and
for machines that share a file system whose locks work.
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

    Each has its share of the processor's threads. Where there are several GPUs and the options do
    not name one of them, each process sees one, in turn.

    Args:
        runs: What to train and score.
        options: Where and how.
        work: Function of a module, called in each process with all runs and its options.

    Raises:
        ConfigError: If a process failed; it has printed why.
    """
    spawn = multiprocessing.get_context('spawn')  # CUDA does not survive a fork
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
            process.terminate()  # does nothing to one that has ended
            process.join()
    failed = [process.name for process in processes if process.exitcode]
    if failed:
        raise ConfigError(
            f'{", ".join(failed)} of {options.processes} failed, see above; what is finished is '
            'kept, and the same command continues'
        )


def _work(
    work: 'Callable[..., object]',
    runs: 'Sequence[Run]',
    options: 'RunOptions',
    threads: int,
    gpu: int | None,
) -> None:
    if gpu is not None:  # before anything asks CUDA what there is
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
