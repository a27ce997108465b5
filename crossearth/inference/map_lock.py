"""One writer for each map: a second one is told, instead of spoiling what the first one makes."""

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

    A lock is a hidden file next to the destination. The operating system frees it when its process
    ends, however that happens, so that a file that a killed process left does not block anybody.

    Args:
        destinations: Files that are going to be written.
        shard: Share of the parts of a map; different shares may be made at the same time.

    Raises:
        BusyError: If another process is writing one of them.
        WriteError: If no file can be made in its folder.
    """
    kind = 'lock' if shard is None else f'{shard[0]}-of-{shard[1]}.lock'
    with ExitStack() as stack:
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
            f'{path} is being written by another process: wait until it has ended, or choose '
            'another name'
        ) from error
    except OSError as error:
        raise WriteError(
            f'{path} cannot be written ({error}): check that you may write in the folder '
            f'{path.parent}'
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it with the release
            file.unlink()  # while it is held: who waits for it looks again
        lock.release()
