"""The most memory that a training run takes."""

from pathlib import Path

import torch

__all__ = ['peak_memory_bytes', 'restart_peak_memory']

_RESTART = Path('/proc/self/clear_refs')
_STATUS = Path('/proc/self/status')
_FORGET_PEAK = '5'


def restart_peak_memory(device: torch.device) -> bool:
    """Count the peak from here on; False where the system cannot do that.

    Args:
        device: What training runs on.
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
    """The most memory since `restart_peak_memory`, in bytes; None where it is not known.

    On a GPU it is what torch has allocated there, elsewhere the resident memory of this process
    with all its libraries. Reading processes are not counted.

    Args:
        device: What training runs on.

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
