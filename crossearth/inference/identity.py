"""Identifies a model by a digest of what it computes.

The parts of a map may be made by several machines or on several days, but all must come from one
model. Weights alone do not identify it, because a temperature, a stride or a changed `forward` also
changes the map.
"""

import functools
import hashlib
import io
import re
import types
import zipfile
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from crossearth.errors import ConfigError
from crossearth.models.programs import OnnxModel

__all__ = ['identity_of']

_PLAIN: Final = (bool, int, float, complex, str, bytes, PurePath, torch.dtype, torch.device)
_DEEPEST = 6  # nesting of values, such as lists of functions with arguments
# names that contain counters of the process, and the place where the code once was
_MANGLED = re.compile(rb'[./]?___torch_mangle_\d+')
_OF_NO_EFFECT = ('.debug_pkl', '.data/serialization_id', 'version', 'byteorder')


def identity_of(model: nn.Module | Callable[[Tensor], Tensor]) -> str:
    """A digest of what a module computes: its weights, structure, options and code.

    The code is that of the module's own classes, and of the functions and hooks that it holds,
    including the functions that these call. Options are attributes that hold numbers, strings,
    functions, tensors or containers of them. Of private attributes (`_name`), only numbers and
    strings count, because the others are mostly caches. The digest depends neither on the process
    nor on the file that holds the model. For a scripted or exported module, it is a digest of the
    graph and weights, and for an ONNX file, of the file.

    Args:
        model: Any module.

    Returns:
        64 hexadecimal digits.

    Raises:
        ConfigError: If it is not a module. What a plain function computes cannot be compared.

    Example:
        >>> one, other = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)
        >>> _ = other.load_state_dict(one.state_dict())
        >>> identity_of(one) == identity_of(other)
        True
        >>> other.padding = (1, 1)
        >>> identity_of(one) == identity_of(other)
        False
    """
    if not isinstance(model, nn.Module):
        name = getattr(model, '__qualname__', type(model).__qualname__)
        raise ConfigError(
            f'the model is {name}, a {type(model).__name__}, and what that computes cannot be '
            "compared with another model: pass model_id='…' as its name, and change the name with "
            'the model, so that parts and maps of two models are kept apart'
        )
    digest = hashlib.sha256()
    _Describer(digest.update).module(model)
    return digest.hexdigest()


class _Describer:
    """Writes modules and values as bytes that are equal for equal ones in every process."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._classes: set[type] = set()
        self._modules: set[int] = set()  # guards against cycles: a module may hold its parent

    def text(self, *words: object) -> None:
        """Write words so that no other sequence of words gives the same bytes."""
        for word in words:
            encoded = str(word).encode()
            self._write(b'%d:' % len(encoded) + encoded)

    def module(self, model: nn.Module) -> None:
        """Write a module with everything it holds."""
        if id(model) in self._modules:
            return
        self._modules.add(id(model))
        if isinstance(model, OnnxModel):
            self.text('onnx', model.digest)
            return
        if isinstance(model, torch.jit.ScriptModule):
            self._scripted(model)
            return
        for name, module in model.named_modules():
            self.text('module', name)
            if isinstance(module, torch.jit.ScriptModule):
                self._scripted(module)
                continue
            if isinstance(module, GraphModule):
                self.text(module.graph)
                continue
            self._class(type(module))
            for key, value in sorted(vars(module).items()):
                if self._is_option(key, value):
                    self.text('option', key)
                    self.value(value)
            for kind in ('_forward_pre_hooks', '_forward_hooks'):
                for hook in vars(module).get(kind, {}).values():
                    self.value(hook)
        for kind, tensors in (
            ('parameter', model.named_parameters()),
            ('buffer', model.named_buffers()),  # including those that are not saved to files
        ):
            for name, tensor in tensors:
                self.text(kind, name)
                self.value(tensor)

    @staticmethod
    def _is_option(key: str, value: object) -> bool:
        if key in nn.Module.__dict__ or key in _INTERNALS:
            return False
        return not key.startswith('_') or isinstance(value, _PLAIN)

    def _scripted(self, model: torch.jit.ScriptModule) -> None:
        """Write the archive that it would be saved as: code, attributes and tensors."""
        buffer = io.BytesIO()
        torch.jit.save(model, buffer)
        entries = []
        with zipfile.ZipFile(buffer) as archive:
            for name in archive.namelist():
                if not name.endswith(_OF_NO_EFFECT):
                    content = archive.read(name)
                    if name.endswith(('.py', '.pkl')):
                        content = _MANGLED.sub(b'', content)
                    entries.append((_MANGLED.sub(b'', name.encode()), content))
        for plain, content in sorted(entries):
            self.text(plain.decode(), len(content))
            self._write(content)

    def value(self, value: object, depth: int = 0) -> None:
        """Write a value of an attribute, an argument or a constant."""
        self.text(type(value).__qualname__)
        if depth > _DEEPEST:
            return
        if isinstance(value, Enum):
            self.text(value.name)
        elif value is None or isinstance(value, _PLAIN):
            self.text(repr(value))
        elif isinstance(value, Tensor):
            self._tensor(value)
        elif isinstance(value, np.ndarray | np.generic):
            self.text(value.dtype, value.shape)
            self._write(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, Mapping):
            for key, item in value.items():
                self.value(key, depth + 1)
                self.value(item, depth + 1)
        elif isinstance(value, set | frozenset):
            self._unordered(value, depth)
        elif isinstance(value, Sequence):
            for item in value:
                self.value(item, depth + 1)
        elif isinstance(value, nn.Module):
            self.module(value)
        elif isinstance(value, type):
            self._class(value)
        else:
            self._callable(value, depth)

    def _tensor(self, tensor: Tensor) -> None:
        self.text(tensor.dtype, tuple(tensor.shape))
        if tensor.device.type == 'meta' or tensor.layout != torch.strided or tensor.is_quantized:
            # their values do not lie in memory as plain bytes
            self.text(tensor.layout)
            return
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        # as bytes, because NumPy has no bfloat16
        self._write(flat.view(torch.uint8).numpy().tobytes())

    def _unordered(self, values: set[Any] | frozenset[Any], depth: int) -> None:
        # the order of a set of strings changes with the hash seed of the process
        digests = []
        for item in values:
            digest = hashlib.sha256()
            _Describer(digest.update).value(item, depth + 1)
            digests.append(digest.hexdigest())
        self.text(*sorted(digests))

    def _callable(self, value: object, depth: int) -> None:
        if isinstance(value, functools.partial):
            self.value((value.func, value.args, value.keywords), depth + 1)
        elif isinstance(value, types.MethodType):
            self.value(value.__func__, depth + 1)  # its object is written elsewhere
        elif isinstance(value, types.FunctionType):
            self.text(value.__module__, value.__qualname__)
            self._code(value.__code__)
            cells = value.__closure__ or ()
            # an empty cell belongs to a name that is not bound yet, and reading it raises
            contents = [cell.cell_contents for cell in cells if cell != types.CellType()]
            self.value((value.__defaults__, value.__kwdefaults__, contents), depth + 1)
        else:  # for objects of other libraries, the class is all we know
            self.text(type(value).__module__, getattr(value, '__qualname__', ''))

    def _class(self, kind: type) -> None:
        """Write a class by its name and code, and its base classes up to those of torch."""
        for base in kind.__mro__:
            if base in self._classes or base in (nn.Module, GraphModule, object):
                continue
            self._classes.add(base)
            self.text('class', base.__module__, base.__qualname__)
            for name, member in sorted(vars(base).items()):
                function = getattr(member, '__wrapped__', getattr(member, '__func__', member))
                if isinstance(function, property):
                    function = function.fget
                if isinstance(function, types.FunctionType):
                    self.text(name)
                    self._code(function.__code__)
                elif isinstance(member, _PLAIN) and not name.startswith('__'):
                    self.text(name)
                    self.value(member)

    def _code(self, code: types.CodeType) -> None:
        # file name and line numbers are left out, so that moved code keeps its digest
        self.text(code.co_name, code.co_names, code.co_varnames)
        self._write(code.co_code)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._code(constant)
            else:
                self.value(constant)


_INTERNALS: Final = frozenset(vars(nn.Module())) | {'training', 'blueprint', 'imagery'}
