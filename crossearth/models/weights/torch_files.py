"""Files of `torch.save`, read without torch's reader and without running what they hold.

A pickle is a program: it may call any function that it names, and set attributes of what it finds.
Here a name stands either for one of the few makers below, or for a stub that accepts everything and
does nothing. Makers return records of where a tensor lies instead of tensors, so that no operation
of a pickle has an effect outside its own containers. Storages are read afterwards, only those that
are asked for, and never more bytes than the file has.
"""

import math
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from crossearth.errors import CheckpointError

__all__ = ['Record', 'read_torch_file']

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch's format before 1.6


class _Stub:
    """Stands for any object that is not a tensor, an array or a dictionary."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object) -> '_Stub':
        """Stands for a function of an object, such as a method."""
        return self

    def __setitem__(self, _: object, __: object) -> None:
        pass

    def append(self, _: object) -> None:
        """Stands for a list's method, which the pickle of a list's subclass calls."""

    def extend(self, _: object) -> None:
        """A list's method, likewise."""

    def add(self, _: object) -> None:
        """Stands for a set's method, likewise."""


@dataclass(frozen=True, slots=True)
class _Storage:
    key: str
    dtype: torch.dtype


@dataclass(frozen=True, slots=True)
class _TensorRecord:
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.size, *self.stride)
        if not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise ValueError('a tensor has a negative size, stride or offset')


@dataclass(slots=True)
class _ArrayRecord:
    """A numpy array, whose pickle sets the content after it was made."""

    state: object = None


@dataclass(slots=True)
class _DTypeRecord:
    code: object
    state: object = None


Record = _TensorRecord | _ArrayRecord


def _tensor(
    storage: object, offset: int, size: Iterable[int], stride: Iterable[int], *more: Any
) -> object:
    if not isinstance(storage, _Storage):
        return _Stub()
    dtype = more[2] if len(more) > 2 and isinstance(more[2], torch.dtype) else storage.dtype
    return _TensorRecord(storage, offset, tuple(size), tuple(stride), dtype)


def _makers() -> dict[tuple[str, str], Callable[..., Any] | torch.dtype]:
    """What each name in a pickle stands for."""
    names: dict[tuple[str, str], Any] = {
        ('collections', 'OrderedDict'): lambda *items: dict(*items),
        # Without its factory, a function that the file chooses.
        ('collections', 'defaultdict'): lambda *_: {},
        # How pickles of protocol 2 hold bytes.
        ('_codecs', 'encode'): lambda text, *_: text.encode('latin1'),
        ('numpy', 'dtype'): lambda code, *_: _DTypeRecord(code),
        ('torch._utils', '_rebuild_tensor'): _tensor,
        ('torch._utils', '_rebuild_tensor_v2'): _tensor,
        ('torch._utils', '_rebuild_tensor_v3'): _tensor,
        ('torch._utils', '_rebuild_parameter'): lambda data, *_: data,
        ('torch._utils', '_rebuild_parameter_with_state'): lambda data, *_: data,
        ('torch.storage', 'UntypedStorage'): torch.uint8,
    }
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        names[module, '_reconstruct'] = lambda *_: _ArrayRecord()
    for name, dtype in vars(torch).items():
        if isinstance(dtype, torch.dtype):
            names['torch', name] = dtype
    for kind, dtype in (
        ('Double', torch.float64),
        ('Float', torch.float32),
        ('Half', torch.float16),
        ('BFloat16', torch.bfloat16),
        ('Long', torch.int64),
        ('Int', torch.int32),
        ('Short', torch.int16),
        ('Char', torch.int8),
        ('Byte', torch.uint8),
        ('Bool', torch.bool),
        ('ComplexDouble', torch.complex128),
        ('ComplexFloat', torch.complex64),
    ):
        names['torch', f'{kind}Storage'] = names['torch.cuda', f'{kind}Storage'] = dtype
    return names


_MAKERS = _makers()


class _Unpickler(pickle._Unpickler):
    """Finds makers, and a stub for every other name; sets no attribute of anything.

    Derived from Python's unpickler, because C's reserves memory by the pickle's own object numbers.
    """

    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: Any) -> None:
        # Arrays in pickles of Python 2 are text, and only this encoding keeps all of their bytes.
        super().__init__(file, encoding='latin1')
        self.storages: dict[str, tuple[int, int]] = {}  # count of numbers, bytes of one

    def find_class(self, module: str, name: str) -> Any:
        return _MAKERS.get((module, name), _Stub)

    def persistent_load(self, pid: Any) -> object:
        kind, dtype, *place = pid
        if kind != 'storage' or not isinstance(dtype, torch.dtype):
            return _Stub  # a class of modules, as in old files, or quantised numbers
        key, _, numel, *view = place
        laid_out = isinstance(key, str) and isinstance(numel, int) and numel >= 0
        if not laid_out or (view and view[0] is not None):
            raise ValueError('a storage does not have the layout that torch writes')
        if self.storages.setdefault(key, (numel, dtype.itemsize)) != (numel, dtype.itemsize):
            raise ValueError(f'storage {key!r} has two sizes')
        return _Storage(key, dtype)

    def load_build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if isinstance(made, (_ArrayRecord, _DTypeRecord)):
            made.state = state

    dispatch[pickle.BUILD[0]] = load_build


def read_torch_file(
    path: Path, choose: Callable[[object], Mapping[str, Record]]
) -> dict[str, Tensor]:
    """Chosen tensors of a file of `torch.save`, in either of its formats.

    Args:
        path: The file.
        choose: Gets the content, with records instead of tensors, and returns those to read.

    Returns:
        Name → tensor, without numpy arrays of types that torch lacks.

    Raises:
        CheckpointError: If the file is a TorchScript program, a tar file, damaged, or claims to
            hold more than it does.
    """
    try:
        with path.open('rb') as file:
            zipped = file.read(4) == b'PK\x03\x04'
        if zipped:
            return _read_zip(path, choose)
        if tarfile.is_tarfile(path):
            raise CheckpointError(f'{path} is a tar file: expected a file of torch.save')
        return _read_legacy(path, choose)
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes can raise anything in a reader
        raise CheckpointError(
            f'{path} is not a complete file of torch.save ({type(error).__name__}: {error}): fetch '
            'it again, or save its state_dict as .safetensors'
        ) from error


def _read_zip(path: Path, choose: Callable[[object], Mapping[str, Record]]) -> dict[str, Tensor]:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename.partition('/')[2]: entry for entry in archive.infolist()}
        if 'constants.pkl' in entries:
            raise CheckpointError(
                f'{path} is a TorchScript archive, which is a program: expected a file of '
                'torch.save'
            )
        # torch compresses nothing. Parts that claim more bytes than the file has would fill the
        # memory.
        claimed = sum(entry.file_size for entry in archive.infolist())
        if claimed > path.stat().st_size or len(entries) < len(archive.infolist()):
            raise ValueError('its parts are compressed or overlap')
        if 'byteorder' in entries and archive.read(entries['byteorder']) != b'little':
            raise ValueError('its numbers are big-endian')
        with archive.open(entries['data.pkl']) as file:
            unpickler = _Unpickler(file)
            chosen = choose(unpickler.load())
        storages: dict[str, bytearray] = {}
        for key in _keys(chosen):
            entry = entries[f'data/{key}']
            if entry.file_size != math.prod(unpickler.storages[key]):
                raise ValueError(f'storage {key!r} has another size')
            storages[key] = bytearray(entry.file_size)
            with archive.open(entry) as file:
                _fill(storages[key], file)
    return _built(chosen, storages, path.stat().st_size)


def _read_legacy(path: Path, choose: Callable[[object], Mapping[str, Record]]) -> dict[str, Tensor]:
    """The format before torch 1.6: five pickles, then the storages one after the other."""
    with path.open('rb') as file:
        if _Unpickler(file).load() != _MAGIC or _Unpickler(file).load() != _PROTOCOL:
            raise ValueError('it does not start with the magic number')
        system = _Unpickler(file).load()
        if not isinstance(system, dict) or system.get('little_endian') is not True:
            raise ValueError('its numbers are big-endian')
        unpickler = _Unpickler(file)
        chosen = choose(unpickler.load())
        keys, wanted = _Unpickler(file).load(), set(_keys(chosen))
        if not isinstance(keys, list) or set(keys) != set(unpickler.storages):
            raise ValueError('its list of storages differs from what its tensors need')
        storages: dict[str, bytearray] = {}
        for key in keys:
            numel, itemsize = unpickler.storages[key]
            # Evaluated from left to right: `here` is the place after the count.
            count, size, here = file.read(8), numel * itemsize, file.tell()
            if count != numel.to_bytes(8, 'little') or here + size > path.stat().st_size:
                raise ValueError(f'storage {key!r} has another size')
            if key in wanted:
                storages[key] = bytearray(size)
                _fill(storages[key], file)
            file.seek(here + size)
    return _built(chosen, storages, path.stat().st_size)


def _keys(chosen: Mapping[str, Record]) -> list[str]:
    """The storages of chosen tensors, without duplicates."""
    return list(
        dict.fromkeys(r.storage.key for r in chosen.values() if isinstance(r, _TensorRecord))
    )


def _fill(buffer: bytearray, file: Any) -> None:
    if file.readinto(buffer) != len(buffer):
        raise EOFError('it ends within a storage')


def _built(
    chosen: Mapping[str, Record], storages: Mapping[str, bytearray], limit: int
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, record in chosen.items():
        tensor = (
            _from_array(record)
            if isinstance(record, _ArrayRecord)
            else _from_storage(record, storages[record.storage.key], limit)
        )
        if tensor is not None:
            tensors[name] = tensor
    return tensors


def _from_storage(record: _TensorRecord, storage: bytearray, limit: int) -> Tensor:
    """The tensor that a record describes; torch checks that it lies within its storage."""
    # A stride of 0 repeats numbers, and a copy of such a tensor could fill the memory.
    if math.prod(record.size) * record.dtype.itemsize > limit:
        raise ValueError('a tensor repeats its numbers beyond what the file holds')
    whole = len(storage) // record.dtype.itemsize
    if not whole:
        return torch.empty(0, dtype=record.dtype).as_strided(record.size, record.stride)
    flat = torch.frombuffer(storage, dtype=record.dtype, count=whole)
    return flat.as_strided(record.size, record.stride, record.offset)


def _from_array(record: _ArrayRecord) -> Tensor | None:
    """An array as a tensor, or None if torch lacks its type."""
    if not isinstance(record.state, tuple) or len(record.state) != 5:
        return None
    _, shape, kind, fortran, raw = record.state
    code, state = getattr(kind, 'code', None), getattr(kind, 'state', None)
    if not isinstance(code, str) or not re.fullmatch('[biuf][1248]', code):
        return None
    big = isinstance(state, tuple) and len(state) > 1 and state[1] == '>'
    raw = raw.encode('latin1') if isinstance(raw, str) else raw  # a pickle of Python 2
    array = np.frombuffer(raw, f'>{code}' if big else f'<{code}').astype(code)
    return torch.from_numpy(array.reshape(shape, order='F' if fortran else 'C').copy())
