"""Weights files: safetensors with the weights and everything that is needed to rebuild the model.

A file holds what was trained, and no code: reading one never runs anything that it contains.
"""

import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from crossearth.errors import CheckpointError, ConfigError, LabelError, WriteError
from crossearth.imagery import Imagery, imagery_of
from crossearth.labels import LabelSpace
from crossearth.models.freezing import frozen_marks, frozen_names, other_marks, whole
from crossearth.models.meta import without_weights
from crossearth.models.recording import (
    Blueprint,
    blueprint_of,
    builder_name,
    find_builder,
    own_builders,
)
from crossearth.models.weights.adaptation_record import AdaptationRecord
from crossearth.models.weights.fitting import fit_weights, require_fit
from crossearth.models.weights.reading import read_entries, require_finite
from crossearth.source_statistics import SourceStatistics
from crossearth.spelling import did_you_mean
from crossearth.tensor_files import write_tensors

__all__ = ['ModelInfo', 'load_model', 'read_model_info', 'require_model_name', 'save_model']

_FORMAT = 'crossearth-model'
_VERSION = 1


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a weights file says about its model.

    Args:
        blueprint: Builder function and its arguments.
        labels: Classes of the logits, or None if they were not given.
        bands: Names of the bands in order, or their numbers counted from 1, or None.
        gsd_m: Ground sampling distance in metres that scenes are mapped at, or None.
        complete: Whether the file holds every weight. If not, frozen weights are missing, and the
            builder gets them again.
        frozen_marks: Name → mark of each frozen tensor that is not in the file, to check that the
            builder gets the same ones.
        value_range: Values of the training imagery that became 0 and 1, or None for the range of
            its data type.
        gsd_range_m: Finest and coarsest ground sampling distance of the training imagery, in
            metres, of a model that was trained across several; or None.
        source: Statistics of the training images, or None.
        adaptation: How it was adapted to scenes without labels, or None.
    """

    blueprint: Blueprint
    labels: LabelSpace | None = None
    bands: tuple[str, ...] | tuple[int, ...] | None = None
    gsd_m: float | None = None
    complete: bool = True
    frozen_marks: Mapping[str, float] | None = None
    value_range: tuple[float, float] | None = None
    gsd_range_m: tuple[float, float] | None = None
    source: SourceStatistics | None = None
    adaptation: AdaptationRecord | None = None

    def __post_init__(self) -> None:
        _ = self.imagery  # building it checks the distances

    @property
    def imagery(self) -> Imagery:
        """How scenes are to be shown to the model."""
        return Imagery(
            labels=self.labels,
            bands=self.bands,
            value_range=self.value_range,
            gsd_m=self.gsd_m,
            gsd_range_m=self.gsd_range_m,
            source=self.source,
        )


# many arguments: everything that a model file records about its model
def save_model(
    model: nn.Module,
    path: str | Path,
    *,
    builder: str | Callable[..., nn.Module] | None = None,
    arguments: Mapping[str, Any] | None = None,
    labels: LabelSpace | None = None,
    bands: Sequence[str] | Sequence[int] | None = None,
    gsd_m: float | None = None,
    gsd_range_m: tuple[float, float] | None = None,
    value_range: tuple[float, float] | None = None,
    source: SourceStatistics | None = None,
    adaptation: AdaptationRecord | None = None,
    trainable_only: bool | None = None,
    write: bool = True,
) -> Path:
    """Write the trained weights of a model, and what rebuilds it, to a file.

    The file appears under its final name only when complete. If you state nothing of the imagery
    (`labels`, `bands`, `gsd_m`, `gsd_range_m`, `value_range` and `source` are None), what the model
    has in `imagery` is written, as `load_model` put it there.

    Args:
        model: Built by a function with `@builder`; otherwise pass `builder` and `arguments`.
        path: `.safetensors` file to write; an existing one is replaced.
        builder: Function that builds the model, or the name of one of `crossearth.models`; the
            model's own by default.
        arguments: Arguments of the builder; the model's own by default.
        labels: Classes of the logits.
        bands: Names of the bands, or their numbers counted from 1, in the order that the model
            takes them.
        gsd_m: Ground sampling distance in metres at which scenes are to be mapped.
        gsd_range_m: Finest and coarsest one of the training imagery, if there were several.
        value_range: Values of the training imagery that became 0 and 1; None for the range of its
            data type.
        source: Statistics of the training images, see `crossearth.models.source`.
        adaptation: How the model was adapted to scenes without labels.
        trainable_only: True leaves frozen weights out, and the builder gets them again on loading.
            By default they are left out if the builder has a source for them (its argument
            `pretrained`) and they make up over a tenth of the weights. False writes all weights.
        write: Whether this process writes the file. For a model that is sharded over processes,
            all processes have to call this function, and one of them writes.

    Returns:
        The path written to.

    Raises:
        ConfigError: If it is unknown how the model was built, JSON cannot hold the arguments, what
            is said of the imagery cannot be, or the name does not end in `.safetensors`.
        CheckpointError: If frozen weights would be left out that no builder can get again.
        LabelError: If the label space has another number of classes than the model.
        WriteError: If the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> from crossearth.models import fpn_timm
        >>> model = fpn_timm('resnet10t', num_classes=2, width=16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = load_model(save_model(model, f'{folder}/model.safetensors'))
        >>> torch.equal(again.decoder.classify.weight, model.decoder.classify.weight)
        True
    """
    path = require_model_name(path)
    blueprint = _blueprint(model, builder, arguments)
    stated = Imagery(
        labels=labels,
        bands=None if bands is None else _stated_bands(model, bands),
        value_range=value_range,
        gsd_m=gsd_m,
        gsd_range_m=gsd_range_m,
        source=source,
    )
    known = imagery_of(model) if stated == Imagery() else stated
    _check_labels(model, known.labels)
    state = model.state_dict()
    left_out = _left_out(model, blueprint, trainable_only)
    kept = _apart({n: whole(t.detach()).cpu() for n, t in state.items() if n not in left_out})
    require_finite(kept, source=f'the model for {path}')
    header = _header(
        ModelInfo(
            blueprint=blueprint,
            labels=known.labels,
            bands=known.bands,
            gsd_m=known.gsd_m,
            complete=not left_out,
            frozen_marks=frozen_marks(state, left_out),
            value_range=known.value_range,
            gsd_range_m=known.gsd_range_m,
            source=known.source,
            adaptation=adaptation,
        )
    )
    # Not earlier: every process has to take part in gathering sharded weights above.
    if not write:
        return path
    _write_whole(path, kept, {'format': _FORMAT, 'version': str(_VERSION), 'model': header})
    return path


def require_model_name(path: str | Path) -> Path:
    """The path, if its name is one by which `load_model` and `predict` know a model.

    Raises:
        ConfigError: If it does not end in `.safetensors`.
    """
    if Path(path).suffix != '.safetensors':
        raise ConfigError(
            f'{path}: expected a name that ends in .safetensors, by which a file with a model is '
            'known'
        )
    return Path(path)


def _stated_bands(
    model: nn.Module, bands: Sequence[str] | Sequence[int]
) -> tuple[str, ...] | tuple[int, ...]:
    takes = getattr(model, 'in_channels', None)
    try:
        if isinstance(bands, str):
            raise ValueError(f'bands are {bands!r}')
        named = _bands(list(bands))
    except ValueError as error:
        raise ConfigError(
            f'{error}: expected a list of names, or of numbers counted from 1'
        ) from error
    if takes is not None and len(named) != takes:
        raise ConfigError(
            f'bands are {list(named)}, but the model takes {takes}: name each one that it takes'
        )
    return named


def _apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, none of which shares memory with another, as safetensors requires."""
    apart: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in state.items():
        place = tensor.untyped_storage().data_ptr()
        shared = place in places
        places.add(place)
        if shared:
            apart[name] = tensor.clone(memory_format=torch.contiguous_format)
        else:
            apart[name] = tensor.contiguous()
    return apart


def _check_labels(model: nn.Module, labels: LabelSpace | None) -> None:
    if labels is not None and labels.num_classes != getattr(model, 'num_classes', None):
        raise LabelError(
            f'label space {labels.name!r} has {labels.num_classes} classes, the model '
            f'{getattr(model, "num_classes", "none")}: pass the label space it was trained with'
        )


def _header(info: ModelInfo) -> str:
    """What a file says about its model, as JSON."""
    source = None if info.source is None else info.source.to_json()
    try:
        return json.dumps(asdict(info) | {'source': source})
    except TypeError as error:
        raise ConfigError(
            f'arguments of the model are not JSON values ({error}): use numbers, text, lists, '
            'dictionaries and None'
        ) from error


def _left_out(model: nn.Module, blueprint: Blueprint, trainable_only: bool | None) -> set[str]:
    """Names of the frozen weights that a file need not hold."""
    frozen = frozen_names(model)
    has_source = bool(blueprint.arguments.get('pretrained'))
    if trainable_only and frozen and not has_source:
        raise CheckpointError(
            'the frozen weights of this model are random (pretrained=False), so no builder can get '
            'them again: use trainable_only=False'
        )
    if trainable_only is None:
        sizes = {name: value.numel() for name, value in model.state_dict().items()}
        known_again = sum(sizes[name] for name in frozen)
        trainable_only = has_source and 10 * known_again > sum(sizes.values())
    return frozen if trainable_only else set()


def _write_whole(path: Path, state: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a file that appears under its final name only when complete."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(path, state, metadata)
    except (OSError, SafetensorError) as error:  # the second holds the system's message as text
        reason = getattr(error, 'strerror', None) or str(error)
        raise WriteError(
            f'{path} cannot be written ({reason}): expected the name of a file, in a folder that '
            'you may write to, on a disk that is not full'
        ) from error


def read_model_info(path: str | Path) -> ModelInfo:
    """What a weights file says about its model; weights are not read.

    Args:
        path: File written by `save_model`.

    Returns:
        Builder, arguments, label space, bands and GSD.

    Raises:
        CheckpointError: If there is no such file, or it was not written by this library, or by a
            newer version of it.

    Example:
        >>> import tempfile
        >>> from crossearth.models import fpn_timm
        >>> model = fpn_timm('mobilenetv3_small_050', num_classes=2, width=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     info = read_model_info(save_model(model, f'{folder}/model.safetensors', gsd_m=0.3))
        >>> info.gsd_m
        0.3
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'there is no weights file at {path}: expected one from save_model')
    try:
        with safe_open(path, framework='pt') as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f'{path} is not a complete safetensors file ({error}): expected one written by '
            'save_model; convert other formats with `crossearth weights convert`'
        ) from error
    if metadata.get('format') != _FORMAT:
        raise CheckpointError(
            f'{path} has format {metadata.get("format")!r}, expected {_FORMAT!r}: it holds weights '
            'without a model, so pass it to a builder instead (pretrained=…)'
        )
    if metadata.get('version') != str(_VERSION):
        raise CheckpointError(
            f'{path} has version {metadata.get("version")!r}, expected {_VERSION}: update '
            'crossearth to read it'
        )
    try:
        header = json.loads(metadata['model'])
        if 'blueprint' not in header and 'recipe' in header:  # the old name of the entry
            header['blueprint'] = header['recipe']
        blueprint, labels, bands = header['blueprint'], header['labels'], header['bands']
        marks = {str(name): float(mark) for name, mark in header['frozen_marks'].items()}
        # A difference to NaN is never above the tolerance, so NaN would agree with any weights.
        if not all(math.isfinite(mark) for mark in marks.values()):
            raise ValueError('frozen_marks are not finite')
        return ModelInfo(
            blueprint=Blueprint(str(blueprint['builder']), dict(blueprint['arguments'])),
            labels=None if labels is None else _label_space(labels),
            bands=None if bands is None else _bands(bands),
            gsd_m=header['gsd_m'],
            complete=bool(header['complete']),
            frozen_marks=marks,
            value_range=_pair(header, 'value_range'),
            gsd_range_m=_pair(header, 'gsd_range_m'),
            source=_optional(header, 'source', SourceStatistics.from_json),
            adaptation=_optional(header, 'adaptation', AdaptationRecord.from_json),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f'{path} has a damaged header ({type(error).__name__}: {error}): write it again with '
            'save_model'
        ) from error


def _bands(values: list[Any]) -> tuple[str, ...] | tuple[int, ...]:
    """Names or numbers of bands, as a file has them."""
    if all(isinstance(value, str) for value in values):
        return tuple(values)
    if all(type(value) is int and value > 0 for value in values):
        return tuple(values)
    raise ValueError(f'bands are {values!r}')


def load_model(
    path: str | Path,
    *,
    pretrained: bool | str | Path | None = None,
    builders: Sequence[Callable[..., nn.Module]] = (),
) -> nn.Module:
    """The model of a weights file, in eval mode on the CPU.

    Args:
        path: File written by `save_model`.
        pretrained: Where the builder gets frozen weights that are not in the file; by default from
            where it got them originally. Use it for files that came from another machine.
        builders: Other functions that you trust to build the model, with or without `@builder`.
            Those of this library are always trusted. The file chooses among them by name and
            imports nothing.

    Returns:
        The model, with its `blueprint`, and its `imagery`, which tells `predict_scene` how to show
        it scenes as in training.

    Raises:
        CheckpointError: If the file is damaged, has another format, names no builder, or its
            weights do not fit the model that it names.

    Example:
        >>> import tempfile
        >>> from crossearth.models import fpn_timm
        >>> model = fpn_timm('resnet10t', num_classes=2, width=16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_model(model, f'{folder}/model.safetensors')
        ...     load_model(f'{folder}/model.safetensors').num_classes
        2
    """
    path = Path(path)
    info = read_model_info(path)
    name = info.blueprint.builder
    try:
        build = find_builder(name, builders)
    except ConfigError as error:
        raise CheckpointError(f'{path} {error}') from error
    arguments = dict(info.blueprint.arguments)
    if 'pretrained' in arguments:
        if info.complete:
            arguments['pretrained'] = False  # every weight is in the file
        elif pretrained is not None:
            arguments['pretrained'] = (
                pretrained if isinstance(pretrained, bool) else str(pretrained)
            )
    parameters = inspect.signature(build).parameters
    unknown = sorted(set(arguments) - set(parameters))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise CheckpointError(
            f'{path} has arguments that {name} does not take: {", ".join(unknown)}. It was written '
            'for another version of this builder'
        )
    given = read_entries(path)[0]
    frozen = set(info.frozen_marks or {})
    if name in own_builders():  # others may need weights to build
        # A header may ask for more memory than there is. The weights that it came with do not.
        with without_weights():
            shapes = _build(path, build, arguments | {'pretrained': False})
        require_fit(shapes, given, source=path, optional=lambda name: name in frozen)
    try:
        model = _build(path, build, arguments)
    except CheckpointError as error:  # about the frozen weights, which are in another file
        if info.complete:
            raise
        raise CheckpointError(
            f'{path} holds only the weights that were trained, and those that stayed frozen cannot '
            f'be loaded: {error}. If their file lies elsewhere, pass load_model(…, '
            'pretrained=PATH) (--pretrained PATH)'
        ) from error
    fit_weights(model, given, source=path, optional=lambda name: name in frozen)
    _check_frozen(path, info, model.state_dict())
    # setattr, because torch's types allow only tensors and modules
    setattr(model, 'blueprint', info.blueprint)  # noqa: B010
    setattr(model, 'imagery', info.imagery)  # noqa: B010
    return model.eval()


def _build(path: Path, build: Callable[..., nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    try:
        return build(**arguments)
    except CheckpointError:  # about other files
        raise
    except Exception as error:  # a header may contain anything, and torch and timm raise all kinds
        reason = (str(error).splitlines() or [''])[0]
        raise CheckpointError(
            f'{path} names a model that cannot be built ({type(error).__name__}: {reason})'
        ) from error


def _blueprint(
    model: nn.Module,
    builder: str | Callable[..., nn.Module] | None,
    arguments: Mapping[str, Any] | None,
) -> Blueprint:
    if callable(builder):
        return Blueprint(builder_name(builder), dict(arguments or {}))
    if builder is not None:
        if builder not in own_builders():
            raise ConfigError(
                f'{builder!r} is not a builder of crossearth.models: expected one of '
                f'{", ".join(own_builders())}, or the function itself'
                f'{did_you_mean(builder, own_builders())}'
            )
        return Blueprint(builder, dict(arguments or {}))
    if arguments is not None:
        raise ConfigError('arguments are given without a builder: pass the builder, too')
    blueprint = blueprint_of(model)
    if blueprint is None:
        raise ConfigError(
            'it is unknown how this model was built: build it with a function of crossearth.models '
            'or with your own under @builder, or pass builder and arguments. Merging an adapter '
            'changes how a model is built: pass those of the model without its adapter'
        )
    return blueprint


def _check_frozen(path: Path, info: ModelInfo, state: Mapping[str, Tensor]) -> None:
    others = other_marks(info.frozen_marks or {}, state)
    if others:
        raise CheckpointError(
            f'{path} was trained with other frozen weights than the builder got (first difference '
            f'{others[0]!r}): pass those it was trained with as pretrained=…'
        )


def _pair(header: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Two numbers of a header, or None if it lacks them, as older ones do."""
    if header.get(name) is None:
        return None
    low, high = header[name]
    return float(low), float(high)


def _optional[T](
    header: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], T]
) -> T | None:
    """A part of a header, or None if it lacks it, as older ones do."""
    return None if header.get(name) is None else read(header[name])


def _label_space(header: Mapping[str, Any]) -> LabelSpace:
    scored = header['scored']
    return LabelSpace(
        name=header['name'],
        classes=tuple(header['classes']),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in header['palette']),
        scored=None if scored is None else tuple(scored),
    )
