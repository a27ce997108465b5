"""Files of tensors, written whole and with the permissions of any other new file."""

import stat
import uuid
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

__all__ = ['write_tensors']


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, which appears under its name only when complete.

    Who may read it follows from the umask, as for every other file that this library writes:
    safetensors itself makes files that only their owner may read.

    Args:
        path: File to write; one that exists is replaced.
        tensors: Tensors by name.
        metadata: Text by name.

    Raises:
        OSError: If the file cannot be written, or safetensors' own error, which holds what the
            system said as text.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, 'a.safetensors')
        ...     write_tensors(path, {'a': torch.zeros(2)}, {})
        ...     [found.name for found in Path(folder).iterdir()]
        ['a.safetensors']
    """
    unfinished = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
    try:
        unfinished.touch()
        mode = stat.S_IMODE(unfinished.stat().st_mode)  # what the umask leaves
        save_file(dict(tensors), unfinished, dict(metadata))
        unfinished.chmod(mode)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
