"""Shows progress as a bar, or reports it to a function."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

__all__ = ['counting']


@contextmanager
def counting(
    progress: bool | Callable[[int, int], None], total: int, name: str, *, unit: str = 'window'
) -> Iterator[Callable[[int], None]]:
    """A function that takes numbers of windows, or of another unit, and adds them up.

    Args:
        progress: True shows a bar with windows per second and time left; a function is called with
            the windows done and the total.
        total: Total number of windows.
        name: Name of the bar.
        unit: What is counted.

    Example:
        >>> with counting(lambda done, total: print(done, total), 3, 'a.tif') as advance:
        ...     advance(2)
        2 3
    """
    if progress is False:
        yield lambda _windows: None
        return
    if progress is True:
        with tqdm(total=total, unit=unit, desc=name, smoothing=0.1) as bar:

            def move(number: int) -> None:
                bar.update(number)

            yield move
        return
    done = 0

    def tell(windows: int) -> None:
        nonlocal done
        done += windows
        progress(done, total)

    yield tell
