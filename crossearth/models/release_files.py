"""Reading the released checkpoints, which are pickles, without running what they hold."""

import importlib
import pickle
import tarfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossearth.errors import CheckpointError
from crossearth.labels import LabelSpace
from crossearth.models import builders
from crossearth.models.backbones.dinov2 import convert_dinov2
from crossearth.models.checkpoint import save_model
from crossearth.models.released import CrossEarth_Weights

__all__ = ['Conversion', 'convert_release', 'match_release', 'read_pickle']


class _Stub:
    """Stands for any object that is no tensor, number or container: takes all, does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, *_: object) -> '_Stub':
        """Stands for a function that an object gave, such as a method."""
        return self

    def __setstate__(self, _: object) -> None:
        pass

    def __setitem__(self, _: object, __: object) -> None:
        pass

    def append(self, _: object) -> None:
        """A list's method, as the pickle of a list's child calls it."""

    def extend(self, _: object) -> None:
        """A list's method, likewise."""

    def add(self, _: object) -> None:
        """A set's method, likewise."""


class _Maker:
    """A function that a pickle may call; its attributes, shared by all the process, stay.

    A pickle may give any object attributes, and functions of Python take them.
    """

    __slots__ = ('_make',)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: object) -> Any:
        """What the function makes."""
        return self._make(*arguments)

    def __setstate__(self, _: object) -> None:
        pass


def _encode(text: str, _: str = 'latin1') -> bytes:
    """How pickles of protocol 2 write bytes: always latin-1."""
    return text.encode('latin1')


def _admitted() -> dict[tuple[str, str], Any]:
    """Names that a pickle may use; each makes a tensor, a number or a container.

    Classes are those whose attributes cannot be set; those of storages are torch's own affair.
    """
    names: dict[tuple[str, str], Any] = {
        ('collections', 'OrderedDict'): OrderedDict,
        ('_codecs', 'encode'): _Maker(_encode),
        ('torch', 'Size'): torch.Size,
        ('torch', 'device'): torch.device,
        ('numpy', 'dtype'): np.dtype,
        ('numpy', 'ndarray'): np.ndarray,
    }
    for name in ('_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter'):
        names['torch._utils', name] = _Maker(getattr(torch._utils, name))
    for kind in (set, frozenset, dict, list, tuple, int, float, complex, bool, bytearray, slice):
        names['builtins', kind.__name__] = kind
        names['__builtin__', kind.__name__] = kind
    for name in dir(torch):
        if isinstance(getattr(torch, name), torch.dtype):
            names['torch', name] = getattr(torch, name)
    multiarray = importlib.import_module('numpy._core.multiarray')
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        names[module, 'scalar'] = _Maker(multiarray.scalar)
        names[module, '_reconstruct'] = _Maker(multiarray._reconstruct)
    return names


_ADMITTED = _admitted()


class _Unpickler(pickle.Unpickler):
    """Finds admitted names, and a stub for every other."""

    def find_class(self, module: str, name: str) -> Any:
        return _ADMITTED.get((module, name), _Stub)


def _load(file: Any, **arguments: Any) -> Any:
    return _Unpickler(file, **arguments).load()


# what torch.load wants of a module that unpickles
_SAFE_PICKLE = SimpleNamespace(__name__='safe_pickle', Unpickler=_Unpickler, load=_load)


def read_pickle(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a torch file that holds other objects too, such as mmengine's.

    Nothing in the file is run or imported: tensors, numbers and containers are read, every other
    object becomes an empty stand-in.

    Args:
        path: torch file; `state_dict` or `model` in it is unwrapped.

    Returns:
        Name → tensor; arrays of numpy are made tensors.

    Raises:
        CheckpointError: If the file is not there, damaged, or holds no tensors by name.
    """
    return _read(path)[0]


def _read(path: str | Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a file by name, and the names beside them that hold none."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'no checkpoint at {path}: expected a released .pth file')
    _refuse_other_readers(path)
    try:
        content = torch.load(
            path, map_location='cpu', pickle_module=_SAFE_PICKLE, weights_only=False
        )
    except Exception as error:
        reason = (str(error).splitlines() or [''])[0]
        raise CheckpointError(
            f'{path} is no whole torch file ({type(error).__name__}: {reason}): fetch it again'
        ) from error
    for key in ('state_dict', 'model'):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors: dict[str, Tensor] = {}
    others: list[str] = []
    for name, value in content.items() if isinstance(content, Mapping) else ():
        if isinstance(value, Tensor):
            tensors[str(name)] = value.detach()
        elif isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
            tensors[str(name)] = torch.from_numpy(value.copy())
        else:
            others.append(str(name))
    if not tensors:
        raise CheckpointError(f'{path} holds no tensors by name: expected a state_dict')
    return tensors, others


def _refuse_other_readers(path: Path) -> None:
    """Stop at files that `torch.load` hands to readers which do more than read.

    A TorchScript archive is a program, and torch's format before 2016 is unpacked as a tar file,
    links and permissions included.
    """
    with path.open('rb') as file:
        zipped = file.read(4) == b'PK\x03\x04'
    if not zipped and tarfile.is_tarfile(path):
        raise CheckpointError(f'{path} is a tar file: expected a file of torch.save')
    if zipped:
        try:
            # torch's own parser: another might see another archive in the same bytes
            records = torch._C.PyTorchFileReader(str(path)).get_all_records()
        except RuntimeError:
            return  # damaged, as torch.load will say
        if 'constants.pkl' in records:
            raise CheckpointError(
                f'{path} is a TorchScript archive, which is a program: expected a file of '
                'torch.save'
            )


def match_release(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Released names as this library's, and what has no place in it.

    Args:
        state: Weights as released.

    Returns:
        Weights under the names of `crossearth_vit_large`, and the unused ones under their own.

    Example:
        >>> used, unused = match_release({
        ...     'backbone.reins.scale': torch.ones(()), 'augmentor.x': torch.ones(1)})
        >>> list(used), list(unused)
        (['backbone.adapter.scale'], ['augmentor.x'])
    """
    with torch.device('meta'):
        model = builders.rein_vit_large(1)
    known = set(model.state_dict())
    used: dict[str, Tensor] = {}
    unused: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith('backbone.reins.'):
            ours = name.replace('backbone.reins.', 'backbone.adapter.', 1)
        elif name.startswith('backbone.'):
            ours = name.replace('backbone.', 'backbone.vit.', 1)
        elif name.startswith('decode_head.'):
            ours = name.replace('decode_head.', 'decoder.', 1)
        else:
            ours = ''  # no part of the model is called so
        (used if ours in known else unused)[ours if ours in known else name] = tensor
    return used, unused


@dataclass(frozen=True, slots=True)
class Conversion:
    """What became of a released file.

    Args:
        path: File that was written.
        used: Number of tensors taken over.
        unused: Name → shape of every tensor that was not, of both files; None for what stood
            among the weights and is no tensor that could be read.
    """

    path: Path
    used: int
    unused: dict[str, tuple[int, ...] | None]


_BY_WIDTH = {384: 'crossearth_vit_small', 768: 'crossearth_vit_base', 1024: 'crossearth_vit_large'}


def convert_release(
    checkpoint: str | Path, output: str | Path, *, backbone: str | Path | None = None
) -> Conversion:
    """A released checkpoint as a file of this library, with its backbone.

    Args:
        checkpoint: Released `.pth`.
        output: `.safetensors` file to write; `load_model` reads it.
        backbone: Separately converted backbone (`dinov2_converted.pth`), or official DINOv2
            weights, which are then converted for 512 px. Not needed if the checkpoint holds one.

    Returns:
        Where it was written, and every key that was not used.

    Raises:
        CheckpointError: If a file is damaged, weights are missing, or they do not fit each other.
    """
    tensors, others = _read(checkpoint)
    used, unused = match_release(tensors)
    if backbone is not None:
        tensors, strays = _read(backbone)
        file = Path(backbone).name
        others += [f'{file}: {name}' for name in strays]
        used, more = _with_backbone(used, tensors)
        unused |= {f'{file}: {name}': tensor for name, tensor in more.items()}
    for name, what in (
        ('decoder.cls_embed.weight', 'a Mask2Former head'),
        ('backbone.adapter.learnable_tokens_a', 'LoRA-Rein tokens'),
        ('backbone.vit.pos_embed', 'a backbone: give the one that goes with it (--backbone)'),
    ):
        if name not in used:
            raise CheckpointError(f'{checkpoint} does not hold {what}')
    width = used['backbone.adapter.learnable_tokens_b'].shape[-1]
    if width not in _BY_WIDTH:
        raise CheckpointError(f'{checkpoint} is {width} wide, expected one of {sorted(_BY_WIDTH)}')
    builder = _BY_WIDTH[width]
    num_classes = used['decoder.cls_embed.weight'].shape[0] - 1
    side = round((used['backbone.vit.pos_embed'].shape[1] - 1) ** 0.5)
    model = vars(builders)[builder](
        num_classes, img_size=16 * side, geospatial=False, restorer=None
    )
    for name, tensor in model.state_dict().items():
        if name not in used and name not in ('mean', 'std'):
            raise CheckpointError(f'{checkpoint} lacks {name!r} {tuple(tensor.shape)}')
        if name in used and used[name].shape != tensor.shape:
            raise CheckpointError(
                f'{checkpoint} has {name!r} of shape {tuple(used[name].shape)}, expected '
                f'{tuple(tensor.shape)}'
            )
    model.load_state_dict(used, strict=False)
    labels, bands = _known(Path(checkpoint).name, num_classes)
    written = save_model(model, output, labels=labels, bands=bands)
    shapes = {name: tuple(tensor.shape) for name, tensor in unused.items()}
    return Conversion(written, len(used), {**shapes, **dict.fromkeys(others)})


def _with_backbone(
    used: dict[str, Tensor], state: dict[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights with those of a backbone file, and what the file holds besides."""
    state = {name.removeprefix('backbone.'): tensor for name, tensor in state.items()}
    kernel, positions = state.get('patch_embed.proj.weight'), state.get('pos_embed')
    if kernel is not None and positions is not None:
        # converted already: positions stay; official: for 512 px
        side = round((positions.shape[1] - 1) ** 0.5) if kernel.shape[-1] == 16 else 32
        token = {name: t for name, t in state.items() if name == 'mask_token'}
        state = {**convert_dinov2(state, img_size=16 * side), **token}
    more, unused = match_release({f'backbone.{name}': t for name, t in state.items()})
    return {**used, **more}, unused


def _known(file: str, num_classes: int) -> tuple[LabelSpace | None, tuple[str, ...] | None]:
    """Classes and bands of a file that is listed under its name."""
    for weights in CrossEarth_Weights:
        released = weights.value
        if released.file == file and released.labels.num_classes == num_classes:
            return released.labels, released.bands
    return None, None
