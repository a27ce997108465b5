"""Shows progress as a bar that suits a terminal, a notebook or a file, or reports it."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

__all__ = ['counting', 'progress_bar']

_FILE_S = 60.0  # between lines in a file, where a terminal's ten a second would fill it


def progress_bar(iterable: Iterable[Any] | None = None, *, shown: bool = True, **how: Any) -> Any:
    """Tqdm's bar, which in a file or pipe moves once a minute.

    A bar that leaves nothing behind (`leave=False`) is not shown there at all.

    Args:
        iterable: What to go through; None for a bar that is moved by `update`.
        shown: Whether to show it.
        how: Further arguments of `tqdm`.

    Returns:
        A `tqdm.tqdm`.

    Example:
        >>> sum(progress_bar([1, 2], shown=False))
        3
    """
    settings = {'disable': not shown, **how}
    if not sys.stderr.isatty() and 'ipykernel' not in sys.modules:  # a notebook draws its own bar
        settings |= {'mininterval': _FILE_S, 'maxinterval': _FILE_S}
        settings['disable'] |= how.get('leave') is False
    return tqdm(iterable, **settings)


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
        with progress_bar(total=total, unit=unit, desc=name, smoothing=0.1) as bar:

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
