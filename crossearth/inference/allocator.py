"""Stops the C library from returning freed memory that the next batch needs again."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ['keeping_freed_memory']

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from malloc.h
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc refuses larger values


@contextmanager
def keeping_freed_memory(kept_bytes: int = 256 << 20) -> Iterator[None]:
    """Keep up to `kept_bytes` of freed memory in the process while the block runs.

    A model on the CPU frees its activations, some tens of megabytes, after every batch. glibc
    returns them to the kernel at once and then asks for them again. The kernel clears the pages
    each time, which takes longer than the arithmetic of a small model. Without glibc, nothing is
    done.

    The settings apply to the whole process. Afterwards they keep the values that glibc itself
    adapts to once a program has freed a block of 32 MiB, so up to 64 MiB may stay unused.
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
        # setting a threshold has ended glibc's own adaptation, so its usual result is set by hand
        library.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
        library.malloc_trim(0)
