"""Threads for reading and writing that pass errors on to the caller and end with the block."""

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

__all__ = ['Consumer', 'Producer']

_POLL_S = 0.1


class Producer[T]:
    """Runs an iterator in a thread, a bounded number of items ahead.

    Args:
        items: Iterated in the thread. Its errors are raised where the items are taken.
        ahead: Number of items that may wait to be taken.

    Example:
        >>> with Producer(iter(range(3)), ahead=1) as numbers:
        ...     list(numbers)
        [0, 1, 2]
    """

    def __init__(self, items: Iterator[T], *, ahead: int) -> None:
        self._items = items
        self._queue: queue.Queue[tuple[T] | BaseException | None] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='crossearth-reader', daemon=True)

    def __enter__(self) -> 'Producer[T]':
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        # the caller closes the files that the thread reads from
        self._thread.join()

    def __iter__(self) -> Iterator[T]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            for item in self._items:
                if not self._put((item,)):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
            last = error
        self._put(last)

    def _put(self, item: tuple[T] | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                # a timeout, so that a full queue cannot keep the thread from noticing the stop
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False


class Consumer[T]:
    """Calls a function on items in a thread, in order.

    Leaving the block waits until all items are processed, unless an error occurred.

    Args:
        call: Called in the thread. Its error is raised by the next `put`, or on leaving the block.
        waiting: Number of items that may wait to be processed.

    Example:
        >>> seen = []
        >>> with Consumer(seen.append, waiting=1) as consumer:
        ...     consumer.put(1)
        ...     consumer.put(2)
        >>> seen
        [1, 2]
    """

    def __init__(self, call: Callable[[T], None], *, waiting: int) -> None:
        self._call = call
        self._queue: queue.Queue[tuple[T] | None] = queue.Queue(waiting)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='crossearth-writer', daemon=True)

    def __enter__(self) -> 'Consumer[T]':
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._error = self._error or error  # makes the thread drop the items still waiting
        # never blocks for good: after an error, the thread still takes items, and drops them
        self._queue.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Hand over an item; blocks while too many are waiting."""
        if self._error is not None:
            raise self._error
        self._queue.put((item,))

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._call(item[0])
                except BaseException as error:  # noqa: BLE001 - raised again by the giver
                    self._error = error
