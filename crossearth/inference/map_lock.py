"""Allows one writer per map, so that two processes do not overwrite each other."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from crossearth.errors import BusyError, WriteError

__all__ = ['only_writer']


@contextmanager
def only_writer(
    destinations: Iterable[Path], *, shard: tuple[int, int] | None = None
) -> Iterator[None]:
    """Keep other processes from writing the same files until the block ends.

    A lock is a hidden file next to the destination. The operating system releases it when the
    process ends, however that happens. A file left by a killed process therefore blocks nobody.

    Args:
        destinations: Files that will be written.
        shard: Share of the parts of a map; different shares may be written at the same time.

    Raises:
        BusyError: If another process is writing one of them.
        WriteError: If a lock file cannot be created in the folder.
    """
    kind = 'lock' if shard is None else f'{shard[0]}-of-{shard[1]}.lock'
    with ExitStack() as stack:
        # in one order everywhere, so that of two processes with the same files one gets them all
        for path in sorted(destinations):
            stack.enter_context(_locked(path, path.with_name(f'.{path.name}.{kind}')))
        yield


@contextmanager
def _locked(path: Path, file: Path) -> Iterator[None]:
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BusyError(
            f'{path} is being written by another process: wait until that ends, or choose another '
            'name'
        ) from error
    except OSError as error:
        raise WriteError(
            f'{path} cannot be written ({error}): check that you may write in the folder '
            f'{path.parent}'
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it on release
            file.unlink()  # while still holding the lock: a process that waits checks again
        lock.release()
