"""The one reader of weights: a file of any format in, tensors by name out, nothing is run."""

import re
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from crossearth.errors import CheckpointError
from crossearth.models.weights.onnx_files import read_onnx
from crossearth.models.weights.torch_files import Record, read_torch_file

__all__ = ['read_entries', 'read_weights', 'require_finite', 'strip_prefix']

_WRAPPERS = ('state_dict', 'model', 'teacher', 'module', 'encoder')
_PREFIX = re.compile(r'(?:state_dict|model|teacher|module|encoder|backbone|_orig_mod)\.')
_DEEPEST = 4  # nested containers; a pickle may contain itself
_LARGEST_UNPACKED = 2**30  # bytes of an npz archive, which may be a compression bomb


def read_weights(path: str | Path, *, under: Sequence[str] = ()) -> dict[str, Tensor]:
    """Tensors of a weights file, without running or importing anything that it names.

    Args:
        path: `.safetensors`, `.npz`, `.onnx` (the constants of its convolutions), or any other
            name for a file of `torch.save`. Objects in it that are not tensors, such as the
            arguments of a training run, are skipped. Containers called `state_dict`, `model`,
            `teacher`, `module` or `encoder` are unwrapped, and so are prefixes such as `module.`
            that all names share.
        under: More names of containers to unwrap.

    Returns:
        Name → tensor on the CPU, in the order of the file.

    Raises:
        CheckpointError: If there is no such file, it is damaged, holds no tensors by name, holds
            them in two containers, or one of them is not finite.
        ConfigError: If it is an ONNX file and the package `onnx` is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     state = {'module.weight': torch.ones(2)}
        ...     torch.save({'model': state, 'epoch': 3}, f'{folder}/weights.pth')
        ...     read_weights(f'{folder}/weights.pth')
        {'weight': tensor([1., 1.])}
    """
    tensors = strip_prefix(read_entries(path, under=under)[0], source=path)
    require_finite(tensors, source=path)
    return tensors


def read_entries(
    path: str | Path, *, under: Sequence[str] = ()
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors of a weights file under their full names, and the other entries among them.

    Args:
        path: See `read_weights`.
        under: See `read_weights`.

    Returns:
        Name → tensor, and the names of entries that are not tensors or cannot be read.

    Raises:
        CheckpointError: See `read_weights`; values are not checked.
        ConfigError: See `read_weights`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f'there is no weights file at {path}: expected a .safetensors or torch file'
        )
    names: list[object] = []
    if path.suffix == '.safetensors':
        tensors = _read_safetensors(path)
    elif path.suffix == '.npz':
        tensors = _read_npz(path)
    elif path.suffix == '.onnx':
        tensors = read_onnx(path)
    else:

        def choose(content: object) -> dict[str, Record]:
            place = _place(content, (*under, *_WRAPPERS), path) or {}
            names.extend(place)
            return {
                name: entry
                for name, entry in place.items()
                if isinstance(name, str) and isinstance(entry, Record)
            }

        tensors = read_torch_file(path, choose)
    if not tensors:
        raise CheckpointError(
            f'{path} holds no tensors by name: expected a state_dict, either directly or under one '
            f'of {", ".join((*under, *_WRAPPERS))}'
        )
    return tensors, [
        name if isinstance(name, str) else f'an entry named by {type(name).__name__}'
        for name in names
        if name not in tensors
    ]


def _place(
    content: object, wrappers: Sequence[str], path: Path, depth: int = 0
) -> dict[object, object] | None:
    """The innermost container with tensors, found through the names of wrappers."""
    if not isinstance(content, dict) or depth > _DEEPEST:
        return None
    places = {
        name: place
        for name in wrappers
        if (place := _place(content.get(name), wrappers, path, depth + 1)) is not None
    }
    if len(places) > 1:
        raise CheckpointError(
            f'{path} holds weights under {" and ".join(map(repr, places))}: save those you want in '
            'a separate file'
        )
    if places:
        return next(iter(places.values()))
    return content if any(isinstance(entry, Record) for entry in content.values()) else None


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # its own errors, OSErrors, and KeyErrors for unknown types
        raise CheckpointError(
            f'{path} is not a complete safetensors file ({error}): fetch it again'
        ) from error


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > _LARGEST_UNPACKED:
            raise ValueError(f'{unpacked} bytes unpacked, at most {_LARGEST_UNPACKED} are read')
        # Arrays of objects are pickles, which would run code.
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    except Exception as error:  # zipfile, numpy and torch each have their own errors for damage
        raise CheckpointError(f'{path} is not an npz archive of numbers ({error})') from error


def strip_prefix(
    given: Mapping[str, Tensor],
    wanted: Collection[str] | None = None,
    *,
    source: str | Path,
) -> dict[str, Tensor]:
    """Remove the prefix that a wrapper such as `DataParallel` put before the names of tensors.

    Args:
        given: Name → tensor.
        wanted: Names that are looked for. The prefix with which most are found is removed. None
            removes what all names share.
        source: Name of the file in error messages.

    Returns:
        Name → tensor; names without the prefix stay as they are.

    Raises:
        CheckpointError: If two tensors would get one name.

    Example:
        >>> given = {'module.encoder.w': torch.ones(1), 'module.decoder.w': torch.ones(1)}
        >>> list(strip_prefix(given, source='x.pth'))
        ['encoder.w', 'decoder.w']
        >>> list(strip_prefix(given, {'w', 'b'}, source='x.pth'))
        ['w', 'module.decoder.w']
    """
    prefixes = {''}
    for name in given:
        end = 0
        # Bounded, because a name may repeat a prefix any number of times.
        while (match := _PREFIX.match(name, end)) and name.count('.', 0, end) < 2 * _DEEPEST:
            end = match.end()
            prefixes.add(name[:end])
    prefix = ''
    for longer in sorted(prefixes, key=len):
        if wanted is None:
            better = all(len(name) > len(longer) and name.startswith(longer) for name in given)
        else:
            # Strictly more, so that the shortest of equally good prefixes is removed.
            better = _found(given, wanted, longer) > _found(given, wanted, prefix)
        prefix = longer if better else prefix
    stripped = {name.removeprefix(prefix): tensor for name, tensor in given.items()}
    if len(stripped) < len(given):
        raise CheckpointError(
            f'{source} holds tensors of the same name with and without {prefix!r}: keep one of each'
        )
    return stripped


def _found(given: Collection[str], wanted: Iterable[str], prefix: str) -> int:
    return sum(prefix + name in given for name in wanted)


def require_finite(tensors: Mapping[str, Tensor], *, source: str | Path) -> None:
    """Raise if weights would turn every output into NaN.

    Raises:
        CheckpointError: If a number is NaN or infinite.
    """
    bad = [
        name
        for name, tensor in tensors.items()
        if (tensor.is_floating_point() or tensor.is_complex())
        and not (tensor.float() if tensor.itemsize == 1 else tensor).isfinite().all()
    ]
    if bad:
        raise CheckpointError(
            f'{source} holds NaN or infinite numbers in {len(bad)} tensors, first {bad[0]!r}: the '
            'training run that wrote it diverged, or it is damaged; use an earlier one'
        )
