"""Models of any library in files that hold their code: TorchScript, exported programs and ONNX.

Weights files of this library hold no code. These files do, and to use one is to run its code.

- ONNX is run by onnxruntime, whose operators compute and do nothing else.
- TorchScript is run by torch's own interpreter. It does not run Python, but it has all operators of
  torch, and some of them read and write files. Take it from people whose programs you would run.
- torch reads the programs of `torch.export`. It unpickles parts of some files, and evaluates
  expressions and guards in them as Python. This module refuses files with pickled parts, with
  expressions beyond arithmetic of sizes, with names that are not identifiers, or with operators
  from outside torch, and does not run guards. Even so, torch promises no safety: trust the source
  of the file, as with TorchScript.
"""

import ast
import hashlib
import inspect
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import ExportedProgram

from crossearth.errors import BandError, CheckpointError, ConfigError, ShapeError
from crossearth.modes import moved_to

__all__ = ['ExportedModel', 'OnnxModel', 'load_program', 'program_digest', 'program_kind']

_ON_CPU: Final = 'CPUExecutionProvider'
_ONNX_TYPES: Final[dict[str, np.dtype[Any]]] = {
    'tensor(float)': np.dtype('float32'),
    'tensor(float16)': np.dtype('float16'),
    'tensor(double)': np.dtype('float64'),
}
# in the protocol buffer of a tensor that is kept in another file: the name of that file
_LOCATION = re.compile(rb'\n\x08location\x12([\x01-\x7f])')
_OPERATOR = re.compile(r'torch\.ops\.(aten|prims|higher_order)\.\w+(\.\w+)?|math\.\w+')
_TORCH_OPERATOR = re.compile(r'torch\.(sym_\w+|_check\w*)')
# Not all of `operator`: its `call`, `methodcaller` and `attrgetter` reach any attribute.
_PYTHON_OPERATOR = re.compile(
    r'_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|abs|pos|eq|ne|lt|le|gt|ge|and_|or_|not_'
    r'|getitem)'
)
_NAME = re.compile(r'[A-Za-z_]\w*')
_CLASS_OF_SYMPY = re.compile(r'[A-Z][A-Za-z]*')
_ARITHMETIC = (
    ast.Expression,
    ast.Load,
    ast.keyword,
    ast.BinOp,
    ast.UnaryOp,
    ast.operator,
    ast.unaryop,
)
# position of the argument that says whether an operator trains
_TRAINS = {'batch_norm': 5, 'dropout': 2, 'feature_dropout': 2, 'alpha_dropout': 2}


def program_kind(path: str | Path) -> str | None:
    """The kind of program in a file, judged by content: `'torchscript'`, `'exported'` or `'onnx'`.

    Returns:
        The kind, or None for anything else, such as weights.

    Raises:
        CheckpointError: If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'there is no model file at {path}: check its name')
    # A protocol buffer has no mark at its beginning, so only the name tells.
    if path.suffix == '.onnx':
        return 'onnx'
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        inner = {name.partition('/')[2] for name in archive.namelist()}
        names = inner | set(archive.namelist())
    if 'constants.pkl' in names:
        return 'torchscript'
    if names & {'archive_format', 'serialized_exported_program.json', 'models/model.json'}:
        return 'exported'
    return None


def program_digest(path: str | Path) -> str:
    """SHA-256 of a model file and of the files next to it that hold the tensors of an ONNX file."""
    path = Path(path)
    digest = hashlib.sha256()
    # A digest of digests: joined contents would not tell where one file ends.
    for part in [path, *(_external_files(path) if path.suffix == '.onnx' else [])]:
        with part.open('rb') as file:
            digest.update(hashlib.file_digest(file, 'sha256').digest())
    return digest.hexdigest()


def load_program(path: str | Path, *, device: torch.device | str = 'cpu') -> nn.Module:
    """Load the model of a TorchScript, `torch.export` or ONNX file, ready to run.

    Loading a file means trusting it, see the text at the top of this module.

    Args:
        path: File of `torch.jit.save`, `torch.export.save`, or `.onnx`.
        device: Where it runs.

    Returns:
        A module that maps images (b, c, h, w) to whatever the file gives. An ONNX file with several
        outputs gives a dictionary.

    Raises:
        CheckpointError: If there is no such file, or it is damaged, of another kind, refused, or
            was exported in training mode.
        ConfigError: If onnxruntime is needed and missing, or there is no such device.

    Example:
        >>> import tempfile
        >>> program = torch.export.export(nn.Conv2d(3, 2, 1), (torch.zeros(1, 3, 8, 8),))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.export.save(program, f'{folder}/model.pt2')
        ...     model = load_program(f'{folder}/model.pt2')
        >>> model(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 2, 8, 8])
    """
    path = Path(path)
    kind = program_kind(path)
    if kind == 'onnx':
        return OnnxModel(path, device=device)
    if kind == 'exported':
        return moved_to(_load_exported(path), device)
    if kind == 'torchscript':
        return _load_torchscript(path, device)
    raise CheckpointError(
        f'{path} is not a model: expected a file of save_model (.safetensors), torch.jit.save, '
        'torch.export.save, or .onnx. A file of weights alone, as of '
        'torch.save(model.state_dict()), needs its code: build the model in Python, load the '
        'weights, and call predict_scene, or export the model'
    )


def _load_torchscript(path: Path, device: torch.device | str) -> nn.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', FutureWarning)  # deprecated, but widely used
            warnings.simplefilter('ignore', DeprecationWarning)
            model: nn.Module = torch.jit.load(path, map_location='cpu')  # type: ignore[no-untyped-call]  # untyped in torch
    except RuntimeError as error:
        raise CheckpointError(f'{path} cannot be read as TorchScript ({_short(error)})') from error
    return moved_to(model, device)


class ExportedModel(nn.Module):
    """A program of `torch.export` that checks image sizes before it would fail on them.

    Args:
        program: With one input, of images.
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        inputs = [spec.arg for spec in program.graph_signature.input_specs if _is_input(spec)]
        if len(inputs) != 1:
            raise CheckpointError(
                f'the exported program takes {len(inputs)} inputs: expected one, images '
                '(b, c, h, w)'
            )
        node = next(node for node in program.graph.nodes if node.name == inputs[0].name)
        self.input_shape = tuple(node.meta['val'].shape)
        # guards are Python code from the file, so they never run: forward checks the sizes instead
        if 'check_guards' in inspect.signature(program.module).parameters:  # since torch 2.9
            self.program = program.module(check_guards=False)
        else:
            self.program = program.module()

    def forward(self, images: Float[Tensor, 'b c h w']) -> object:
        """Whatever the program gives.

        Raises:
            BandError: If the program takes another number of bands.
            ShapeError: If the program was exported for other sizes only.
        """
        shape = tuple(None if _is_free(size) else int(size) for size in self.input_shape)
        if len(shape) == 4 and shape[0] not in (None, len(images)):
            require_shape(images, (None, *shape[1:]))
            return run_in_batches(self.program, images, shape[0] or 1)
        require_shape(images, shape)
        return self.program(images)


def _is_input(spec: Any) -> bool:
    return bool(spec.kind == torch.export.graph_signature.InputKind.USER_INPUT)


def _is_free(size: object) -> bool:
    return isinstance(size, torch.SymInt)


def require_shape(images: Tensor, shape: tuple[int | None, ...]) -> None:
    """Raise if a program was exported for images of another shape; None allows any size.

    Raises:
        BandError: If the number of bands differs.
        ShapeError: If the height or the width does.
    """
    if len(shape) != 4:
        raise ShapeError(f'the program takes shape {shape}: expected one for images (b, c, h, w)')
    _, bands, height, width = shape
    if bands is not None and images.shape[1] != bands:
        raise BandError(
            f'images have {images.shape[1]} bands, the model takes {bands}: choose bands with '
            'View(bands=…) (--bands)'
        )
    if height not in (None, images.shape[2]) or width not in (None, images.shape[3]):
        side = height if height == width else f'{height} × {width}'
        raise ShapeError(
            f'windows are {images.shape[2]} × {images.shape[3]} px, but the model was exported for '
            f'{side} px only: choose Windows(tile_px={height}) (--tile-px {height}) for scenes at '
            'least that large, or export it with dynamic sizes'
        )


def run_in_batches(program: Any, images: Tensor, size: int) -> object:
    """Run a program of a fixed batch size on any number of images.

    The last batch is filled with images of zeros.
    """
    pieces = []
    for first in range(0, len(images), size):
        batch = images[first : first + size]
        missing = size - len(batch)
        if missing:
            batch = torch.cat([batch, batch.new_zeros((missing, *batch.shape[1:]))])
        pieces.append(program(batch))
    return _joined(pieces, len(images))


def _joined(pieces: Sequence[Any], count: int) -> object:
    """Join the outputs of several batches, as if they came from one."""
    first = pieces[0]
    if isinstance(first, dict):
        return {key: _joined([piece[key] for piece in pieces], count) for key in first}
    if isinstance(first, tuple | list):
        return [_joined(entries, count) for entries in zip(*pieces, strict=True)]
    return torch.cat(list(pieces))[:count] if isinstance(first, Tensor) else first


def _load_exported(path: Path) -> nn.Module:
    # Before torch sees the file, because loading already unpickles and evaluates parts of it.
    _check_exported(path)
    try:
        program = torch.export.load(path)
    except Exception as error:  # a damaged file can raise anything in the reader
        raise CheckpointError(
            f'{path} cannot be read as a program of torch.export ({_short(error)}): export it '
            'again with the version of torch that is installed here'
        ) from error
    # A program cannot be put into eval mode afterwards: dropout would stay on.
    for node in program.graph.nodes:
        position = _TRAINS.get(str(node.target).split('.')[1] if '.' in str(node.target) else '')
        if position is not None and len(node.args) > position and node.args[position] is True:
            raise CheckpointError(
                f'{path} was exported in training mode ({node.target}): call model.eval() before '
                'torch.export.export'
            )
    try:
        return ExportedModel(program)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error


def _check_exported(path: Path) -> None:
    """Refuse what torch would unpickle, or evaluate as Python."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        documents = {name: archive.read(name) for name in names if name.endswith('.json')}
    if not any(name.endswith('models/model.json') for name in names):
        raise CheckpointError(
            f'{path} was exported by a version of torch before 2.8, whose files hold pickles, '
            'which are never read: export it again'
        )
    legacy = [name for name in names if name.endswith('.pt') and '/sample_inputs/' not in name]
    others = [name for name in names if name.endswith(('.so', '.py', '.cpp', '.o'))]
    if legacy or others:
        raise CheckpointError(f'{path} holds {printable_first(legacy or others)}: export it again')
    for name, content in documents.items():
        try:
            document = json.loads(content)
        except ValueError as error:
            raise CheckpointError(f'{path} is damaged: {name} is not JSON') from error
        for key, value in _entries(document):
            if not _is_harmless(key, value):
                raise CheckpointError(
                    f'{path} is refused: its {key} {str(value)[:60]!r} would make torch unpickle '
                    'an object, run code, or use an operator that is not its own. Plain models '
                    'need none of that: export the model without it, or as ONNX'
                )


def printable_first(names: Sequence[str]) -> str:
    """The first of some file names, printable."""
    return f'{names[0][:60]!r}'


def _entries(document: object) -> Iterator[tuple[str, object]]:
    """Every key of a document with its value, at any depth."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _is_harmless(key: str, value: object) -> bool:
    if key == 'use_pickle':
        return not value
    if key == 'path_name':
        return not str(value).startswith(('custom_obj', 'opaque_obj'))
    if key == 'expr_str':
        return _is_arithmetic(str(value))
    if key in ('name', 'as_name', 'forward_arg_names'):
        names = value if isinstance(value, list) else [value]
        return all(name in (None, '') or _NAME.fullmatch(str(name)) for name in names)
    if key == 'target' and isinstance(value, str):
        kinds = (_OPERATOR, _TORCH_OPERATOR, _PYTHON_OPERATOR)
        # Special attributes lead from any object to the whole of Python.
        return '__' not in value and any(kind.fullmatch(value) for kind in kinds)
    return True


def _is_arithmetic(expression: str) -> bool:
    """Whether a sympy expression has only numbers, symbols, sums, products and the like."""
    try:
        nodes = list(ast.walk(ast.parse(expression, mode='eval')))
    except (SyntaxError, ValueError, RecursionError):
        return False
    # ast.walk gives a call before its arguments, so their set is complete when they come.
    symbols: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Call):
            if not (isinstance(node.func, ast.Name) and _CLASS_OF_SYMPY.fullmatch(node.func.id)):
                return False
            if node.func.id == 'Symbol' and node.args:
                symbols.add(id(node.args[0]))
        elif isinstance(node, ast.Constant):
            # torch would evaluate any other string, too
            is_symbol = id(node) in symbols and _NAME.fullmatch(str(node.value))
            if isinstance(node.value, str) and not is_symbol:
                return False
        elif isinstance(node, ast.Name):
            if not _NAME.fullmatch(node.id) or '__' in node.id:
                return False
        elif not isinstance(node, _ARITHMETIC):
            return False
    return True


class OnnxModel(nn.Module):
    """An ONNX file, run by onnxruntime.

    Args:
        path: The file. Tensors that it keeps in other files lie next to it.
        device: `cpu`, or `cuda` with the package `onnxruntime-gpu`.

    Raises:
        CheckpointError: If the file is damaged or takes anything but images.
        ConfigError: If onnxruntime is missing, or does not run on the device.
    """

    def __init__(self, path: str | Path, *, device: torch.device | str = 'cpu') -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                f"{path} is an ONNX file: pip install 'crossearth[onnx]' to run it"
            ) from error
        kind = torch.device(device).type
        provider = {'cpu': _ON_CPU, 'cuda': 'CUDAExecutionProvider'}.get(kind)
        if provider not in onnxruntime.get_available_providers():
            raise ConfigError(
                f'{path} cannot run on {device} with onnxruntime as installed here: choose cpu, or '
                'install onnxruntime-gpu'
            )
        options = onnxruntime.SessionOptions()
        # By default onnxruntime takes all cores, whatever torch is limited to.
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path),
                options,
                # Operators without a CUDA kernel fall back to the CPU.
                providers=[provider, 'CPUExecutionProvider'][: 1 + (kind != 'cpu')],
            )
        except Exception as error:  # onnxruntime's errors have no common base
            raise CheckpointError(
                f'{path} cannot be run by onnxruntime ({_short(error)})'
            ) from error
        self.digest = program_digest(path)
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in _ONNX_TYPES:
            found = ', '.join(f'{item.name} {item.type} {item.shape}' for item in inputs)
            raise CheckpointError(
                f'{path} takes {found}: expected one input, images of floating-point numbers '
                '(b, c, h, w)'
            )
        self._input = inputs[0].name
        self._dtype = _ONNX_TYPES[inputs[0].type]
        self.input_shape = tuple(
            size if isinstance(size, int) and size > 0 else None for size in inputs[0].shape
        )
        self._outputs = [item.name for item in self._session.get_outputs()]

    def forward(self, images: Float[Tensor, 'b c h w']) -> object:
        """The output of the file: a tensor, or a dictionary of several outputs.

        Raises:
            BandError: If the file takes another number of bands.
            ShapeError: If the file takes only other sizes.
        """
        batch, *rest = self.input_shape
        require_shape(images, (None, *rest))
        if batch not in (None, len(images)):
            return run_in_batches(self._run, images, batch)
        return self._run(images)

    def _run(self, images: Tensor) -> object:
        values = images.detach().cpu().numpy().astype(self._dtype, copy=False)
        try:
            found = self._session.run(None, {self._input: np.ascontiguousarray(values)})
        except Exception as error:  # onnxruntime's errors have no common base
            raise RuntimeError(f'onnxruntime: {_short(error)}') from error
        tensors = {
            name: torch.from_numpy(value).to(images.device)
            for name, value in zip(self._outputs, found, strict=True)
        }
        return tensors if len(tensors) > 1 else tensors[self._outputs[0]]


def _external_files(path: Path) -> list[Path]:
    """Files next to an ONNX file that hold some of its tensors."""
    content = path.read_bytes()
    names = {
        content[found.end() : found.end() + found[1][0]].decode(errors='replace')
        for found in _LOCATION.finditer(content)
    }
    return [path.parent / name for name in sorted(names) if (path.parent / name).is_file()]


def _short(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0][:200] if lines else ""}'
