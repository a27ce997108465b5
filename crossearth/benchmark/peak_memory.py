"""Measures the peak memory of a training run."""

from pathlib import Path

import torch

__all__ = ['peak_memory_bytes', 'restart_peak_memory']

_RESTART = Path('/proc/self/clear_refs')
_STATUS = Path('/proc/self/status')
# What resets VmHWM, see proc(5).
_FORGET_PEAK = '5'


def restart_peak_memory(device: torch.device) -> bool:
    """Restart the measurement; False if the system does not support it.

    Args:
        device: Device of the training run.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _RESTART.write_text(_FORGET_PEAK)
    except OSError:
        return False
    return True


def peak_memory_bytes(device: torch.device) -> int | None:
    """Peak memory in bytes since `restart_peak_memory`; None if unknown.

    On a GPU, this is the memory that torch has allocated there. Elsewhere, it is the resident
    memory of this process with all its libraries, without worker processes.

    Args:
        device: Device of the training run.

    Source:
        `VmHWM` and `clear_refs` of Linux, proc(5).

    Example:
        >>> device = torch.device('cpu')
        >>> if restart_peak_memory(device):  # on Linux
        ...     assert 1e7 < peak_memory_bytes(device) < 1e12
    """
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith('VmHWM:')]
    return 1024 * int(kilobytes[0]) if kilobytes else None
