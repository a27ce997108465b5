"""One list of runs, worked through by several processes of one machine.

There is no queue: each process walks the whole list, and a lock in the folder of a run, which ends
with its process, keeps the others away. The same holds for commands that are started by hand, and
for machines that share a file system whose locks work.
"""

import multiprocessing
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from crossearth.errors import ConfigError, CrossEarthError

if TYPE_CHECKING:
    from crossearth.benchmark.options import RunOptions
    from crossearth.benchmark.runs import Run

__all__ = ['work_in_processes']


def work_in_processes(runs: 'Sequence[Run]', options: 'RunOptions') -> None:
    """Work through the runs with `options.processes` processes.

    Each has its share of the processor's threads. Where there are several GPUs and none is named,
    they are dealt out in turn.

    Raises:
        ConfigError: If a process failed; it has printed why.
    """
    spawn = multiprocessing.get_context('spawn')  # CUDA does not survive a fork
    threads = max((os.cpu_count() or 1) // options.processes, 1)
    processes = [
        spawn.Process(target=_work, args=(runs, _share(options, i), threads), name=f'process {i}')
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


def _share(options: 'RunOptions', index: int) -> 'RunOptions':
    """The options of one process."""
    device = options.device
    gpus = torch.cuda.device_count() if options.torch_device == torch.device('cuda') else 0
    if gpus > 1:
        device = f'cuda:{index % gpus}'
    return replace(options, processes=1, progress=False, device=device)


def _work(runs: 'Sequence[Run]', options: 'RunOptions', threads: int) -> None:
    from crossearth.benchmark.runner import work_through

    torch.set_num_threads(threads)
    try:
        work_through(runs, options)
    except CrossEarthError as error:
        sys.stderr.write(f'crossearth: {error}\n')
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
