"""The C library's allocator, kept from giving memory back that the next batch wants again."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['keeping_freed_memory']

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # names of malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # more is refused


@contextmanager
def keeping_freed_memory(kept_bytes: int = 256 << 20) -> Iterator[None]:
    """Keep up to `kept_bytes` of freed memory in the process while the block runs.

    A model on the CPU frees its activations, some tens of megabytes, after every batch. glibc gives
    them back to the kernel at once and asks for them again, and clearing the pages takes longer
    than a small model's arithmetic. Elsewhere than on glibc nothing is done.

    The settings are those of the process. Afterwards they stay at what glibc adapts itself to once
    a program has freed a block of 32 MiB: twice that much may lie unused.
    """
    if platform.libc_ver()[0] != 'glibc':
        yield
        return
    library = ctypes.CDLL(None)
    library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    library.mallopt(_M_TRIM_THRESHOLD, kept_bytes)
    try:
        yield
    finally:
        library.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
        library.malloc_trim(0)
