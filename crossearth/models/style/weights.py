"""Weights of the style networks, from the places where they are published.

Nothing is unpickled: PyTorch files are read with `weights_only=True`, numpy archives without
pickles, and ONNX files as what they are, protocol buffers of tensors.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import Weights, WeightsEnum

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models.style.predictor import MobileStylePredictor, StylePredictor
from crossearth.models.style.transformer import GhiasiTransformer

__all__ = [
    'GhiasiTransformer_Weights',
    'StyleNetworks',
    'StylePredictor_Weights',
    'light_style_networks',
    'load_style_predictor',
    'load_style_transformer',
    'read_convolutions',
    'released_style_networks',
    'style_augmentation_networks',
]

_PUBLISHED = (
    'https://raw.githubusercontent.com/philipjackson/style-augmentation/'
    '0273e2e66a894d553c7466773802e09eae41f698/styleaug/checkpoints/'
)
_LIGHT = ('.onnx', '.npz')
# Statistics that InstanceNorm2d kept in early releases of PyTorch, and never used.
_OBSOLETE = re.compile(r'(^|\.)instancenorm\.(running_mean|running_var|num_batches_tracked)$')


class GhiasiTransformer_Weights(WeightsEnum):  # type: ignore[misc]  # noqa: N801 -- torchvision's way to name weights, untyped
    """Published weights of `GhiasiTransformer`, trained on ImageNet and paintings (MIT)."""

    STYLE_AUGMENTATION = Weights(
        url=_PUBLISHED + 'checkpoint_transformer.pth',
        transforms=nn.Identity,
        meta={'num_params': 1_954_593, 'licence': 'MIT', 'paper': 'arXiv 1809.05375'},
    )


class StylePredictor_Weights(WeightsEnum):  # type: ignore[misc]  # noqa: N801 -- torchvision's way to name weights, untyped
    """Published weights of `StylePredictor`, trained on ImageNet and paintings (MIT)."""

    STYLE_AUGMENTATION = Weights(
        url=_PUBLISHED + 'checkpoint_stylepredictor.pth',
        transforms=nn.Identity,
        meta={'num_params': 9_042_756, 'licence': 'MIT', 'paper': 'arXiv 1809.05375'},
    )


class StyleNetworks(NamedTuple):
    """A predictor and the transformer that understands its embeddings."""

    predictor: StylePredictor | MobileStylePredictor
    transformer: GhiasiTransformer


def load_style_predictor(
    origin: Path | str | StylePredictor_Weights = StylePredictor_Weights.STYLE_AUGMENTATION,
    *,
    progress: bool = True,
) -> StylePredictor | MobileStylePredictor:
    """A style predictor from any of the places where weights are published.

    Args:
        origin: Published weights, which are downloaded into PyTorch's hub folder once; or a file.
            `.pth`: `checkpoint_stylepredictor.pth` of style-augmentation. `.safetensors`: a
            released CrossEarth file, converted, that holds `augmentor.*`. `.onnx` or `.npz`:
            `arbitrary_predict` of the light model, or its dequantised convolutions.
        progress: Whether a download shows its progress.

    Returns:
        A frozen network on the CPU.

    Raises:
        CheckpointError: If a file is not there, cannot be read safely, or does not fit.
        ConfigError: If an ONNX file is given and the package `onnx` is not installed.
    """
    if isinstance(origin, WeightsEnum):
        return _published(StylePredictor(), origin, 'state_dict_stylepredictor', progress)
    path = Path(origin)
    if path.suffix in _LIGHT:
        return _light(MobileStylePredictor(), path, _mobile_name)
    if path.suffix == '.safetensors':
        return _released(StylePredictor(), _safetensors_file(path), 'stylePredictor', str(path))
    return _published(StylePredictor(), path, 'state_dict_stylepredictor', progress)


def load_style_transformer(
    origin: Path | str | GhiasiTransformer_Weights = GhiasiTransformer_Weights.STYLE_AUGMENTATION,
    *,
    progress: bool = True,
) -> GhiasiTransformer:
    """A style transformer from any of the places where weights are published.

    Args:
        origin: Published weights; or a file. `.pth`: `checkpoint_transformer.pth` of
            style-augmentation. `.safetensors`: a released CrossEarth file, converted, that holds
            `augmentor.*`. `.onnx` or `.npz`: `arbitrary_transform` of the light model, or its
            dequantised convolutions. Take it from where its predictor comes from.
        progress: Whether a download shows its progress.

    Returns:
        A frozen network on the CPU.

    Raises:
        CheckpointError: If a file is not there, cannot be read safely, or does not fit.
        ConfigError: If an ONNX file is given and the package `onnx` is not installed.
    """
    if isinstance(origin, WeightsEnum):
        return _published(GhiasiTransformer(), origin, 'state_dict_ghiasi', progress)
    path = Path(origin)
    if path.suffix in _LIGHT:
        network = GhiasiTransformer(widths=(8, 16, 32), contract_norm=False)
        return _light(network, path, _light_name)
    if path.suffix == '.safetensors':
        return _released(GhiasiTransformer(), _safetensors_file(path), 'ghiasi', str(path))
    return _published(GhiasiTransformer(), path, 'state_dict_ghiasi', progress)


def style_augmentation_networks() -> StyleNetworks:
    """The full-width networks with the published weights of style-augmentation, downloaded once.

    Source:
        Jackson et al., arXiv 1809.05375.
    """
    return StyleNetworks(load_style_predictor(), load_style_transformer())


def released_style_networks(state: Mapping[str, Tensor], *, name: str = 'state') -> StyleNetworks:
    """The full-width networks from the `augmentor.*` tensors of a released CrossEarth file.

    Args:
        state: All tensors of the file, or some; those of other parts are not looked at.
        name: What to call the file in errors.

    Returns:
        Frozen networks on the CPU.

    Raises:
        CheckpointError: If there are no style networks inside, or they are incomplete.

    Source:
        The released training run kept the networks of style-augmentation, unchanged, as modules
        `augmentor.stylePredictor` and `augmentor.ghiasi` of its model.
    """
    return StyleNetworks(
        _released(StylePredictor(), state, 'stylePredictor', name),
        _released(GhiasiTransformer(), state, 'ghiasi', name),
    )


def light_style_networks(predictor: Path | str, transformer: Path | str) -> StyleNetworks:
    """The light networks: MobileNetV2 and a transformer of widths 8, 16, 32, in float32.

    Args:
        predictor: `arbitrary_predict.onnx` of Google's arbitrary style transfer, int8; or its
            dequantised convolutions as npz.
        transformer: `arbitrary_transform.onnx`; or its dequantised convolutions as npz.

    Returns:
        Frozen networks on the CPU. Weights are dequantised; activations are not rounded to int8
        as the files' own runtime does, so that outputs differ from it by its rounding.

    Raises:
        CheckpointError: If a file is damaged or holds another model.
        ConfigError: If an ONNX file is given and the package `onnx` is not installed.
    """
    return StyleNetworks(
        _light(MobileStylePredictor(), Path(predictor), _mobile_name),
        _light(
            GhiasiTransformer(widths=(8, 16, 32), contract_norm=False),
            Path(transformer),
            _light_name,
        ),
    )


def read_convolutions(path: Path) -> dict[str, Tensor]:
    """Weights and biases of all convolutions of a quantised ONNX file, in float32.

    Args:
        path: ONNX file, or an npz archive that holds what this function returns.

    Returns:
        `'<name of the output>|weight'` and `'…|bias'`, by the order of the graph.

    Raises:
        CheckpointError: If the file is not there, damaged, or has weights this cannot read.
        ConfigError: If an ONNX file is given and the package `onnx` is not installed.
    """
    if not path.is_file():
        raise CheckpointError(f'{path} is no file: give the path of an ONNX file or npz archive')
    if path.suffix == '.npz':
        try:
            with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
                return {key: torch.from_numpy(archive[key]) for key in archive.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise CheckpointError(f'{path} is no npz archive of arrays: {error}') from error
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(
            f'{path} is an ONNX file: install the package onnx to read it, or give its '
            'convolutions as npz'
        ) from error
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf's errors have no common base
        raise CheckpointError(f'{path} is damaged or no ONNX file: {error}') from error
    constants = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in graph.initializer
    }
    makers = {node.output[0]: node for node in graph.node if node.op_type == 'DequantizeLinear'}

    def dequantised(name: str) -> Tensor:
        if name in constants:
            return constants[name].float()
        if name not in makers:
            raise CheckpointError(f'{path}: {name} is computed, expected a stored weight')
        node = makers[name]
        value, scale = constants[node.input[0]].double(), constants[node.input[1]].double()
        zero = constants[node.input[2]].double() if len(node.input) > 2 else torch.zeros(())
        if scale.ndim:
            axis = next((item.i for item in node.attribute if item.name == 'axis'), 1)
            shape = [-1 if dim == axis else 1 for dim in range(value.ndim)]
            scale = scale.reshape(shape)
            zero = zero.reshape(shape) if zero.ndim else zero
        return ((value - zero) * scale).float()

    convolutions = {}
    for node in graph.node:
        if node.op_type == 'Conv':
            name = node.output[0].removesuffix('_prequant')
            convolutions[f'{name}|weight'] = dequantised(node.input[1])
            convolutions[f'{name}|bias'] = dequantised(node.input[2])
    return convolutions


def _published[N: nn.Module](network: N, origin: Path | WeightsEnum, key: str, progress: bool) -> N:
    """A network with a file of style-augmentation, whose tensors lie under `key`."""
    if isinstance(origin, WeightsEnum):
        name = origin.url
        try:
            content = origin.get_state_dict(
                progress=progress, weights_only=True, map_location='cpu'
            )
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise CheckpointError(
                f'{name} cannot be had or is damaged ({error}): download it by hand and give the '
                'path of the file'
            ) from error
    else:
        name = str(origin)
        content = _torch_file(origin)
    state = content.get(key, content)
    if not isinstance(state, Mapping):
        raise CheckpointError(f'{name}: expected a mapping of tensors under {key!r}')
    return _load(network, state, name)


def _released[N: nn.Module](network: N, state: Mapping[str, Tensor], part: str, name: str) -> N:
    """A network with the tensors `augmentor.<part>.*` of a released file."""
    pattern = re.compile(rf'(?:^|\.)augmentor\.{part}\.(.+)$')
    matches = {key: pattern.search(key) for key in state}
    found = {match[1]: state[key] for key, match in matches.items() if match}
    if not found:
        raise CheckpointError(
            f'{name} holds no tensor augmentor.{part}.*: released files may come without style '
            'networks; load those of style-augmentation instead'
        )
    return _load(network, found, f'{name} (augmentor.{part})')


def _light[N: nn.Module](network: N, path: Path, rename: Callable[[str], str]) -> N:
    """A network with the convolutions of a file of the light model."""
    wanted = network.state_dict()
    state: dict[str, Tensor] = {}
    for key, value in read_convolutions(path).items():
        layer, kind = key.rsplit('|', 1)
        renamed = f'{rename(layer)}.{kind}'
        shape = wanted.get(renamed, value).shape
        # 1×1 convolutions of a vector are linear layers here
        state[renamed] = value.reshape(shape) if value.numel() == shape.numel() else value
    return _load(network, state, str(path))


def _mobile_name(layer: str) -> str:
    """Our name of a layer of the light predictor."""
    if layer.startswith('mobilenet_conv/'):
        return 'fc'
    if layer.startswith('MobilenetV2/Conv_1/'):
        return 'head'
    if layer.startswith('MobilenetV2/Conv/'):
        return 'stem'
    match = re.match(r'MobilenetV2/expanded_conv(?:_(\d+))?/(expand|depthwise|project)/', layer)
    return f'blocks.{match[1] or 0}.{match[2]}' if match else layer


def _light_name(layer: str) -> str:
    """Our name of a layer of the light transformer."""
    if match := re.match(r'transformer/contract/conv(\d)/', layer):
        return f'contract.{int(match[1]) - 1}.conv'
    if match := re.match(r'transformer/residual/residual(\d)/(conv\d)/', layer):
        return f'repaint.{int(match[1]) - 1}.{match[2]}'
    if match := re.match(r'transformer/expand/conv(\d)/', layer):
        return f'repaint.{int(match[1]) + 4}.conv'
    styles = r'style_params/transformer/(residual|expand)/\D+(\d)/conv(\d?)/StyleNorm/Conv(_1)?/'
    if match := re.match(styles, layer):
        # of the two linear maps of a style, the first is the shift and "_1" the scale
        kind = 'gamma' if match[4] else 'beta'
        block = int(match[2]) + (-1 if match[1] == 'residual' else 4)
        return f'repaint.{block}.fc_{kind}{match[3]}'
    return layer


def _reference_name(key: str) -> str:
    """Our name of a tensor of the published transformer."""
    match = re.match(r'layers\.(\d+)\.(.+)$', key)
    if not match:
        return key
    layer = int(match[1])
    part = f'contract.{layer}' if layer < 3 else f'repaint.{layer - 3}'
    return f'{part}.{match[2]}'


def _load[N: nn.Module](network: N, state: Mapping[str, Tensor], name: str) -> N:
    """Fill a network completely, or say what does not fit.

    Raises:
        CheckpointError: If tensors are missing, left over or of another shape.
    """
    rename: Callable[[str], str] = (
        _reference_name if isinstance(network, GhiasiTransformer) else str
    )
    given = {rename(key): value for key, value in state.items() if not _OBSOLETE.search(key)}
    wanted = network.state_dict()
    counters = {key for key in wanted if key.endswith('num_batches_tracked')}
    missing = sorted(wanted.keys() - given.keys() - counters)
    surplus = sorted(f'{key} {tuple(given[key].shape)}' for key in given.keys() - wanted.keys())
    shapes = sorted(
        f'{key} {tuple(given[key].shape)} for {tuple(wanted[key].shape)}'
        for key in given.keys() & wanted.keys()
        if given[key].shape != wanted[key].shape
    )
    problems = [
        f'{len(keys)} {what} ({", ".join(keys[:3])}{", …" if len(keys) > 3 else ""})'
        for what, keys in (('missing', missing), ('unknown', surplus), ('of another shape', shapes))
        if keys
    ]
    if problems:
        raise CheckpointError(
            f'{name} does not fit {type(network).__name__}: {"; ".join(problems)}. Give the file '
            'of this network'
        )
    network.load_state_dict(given, strict=False)
    return network


def _torch_file(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f'{path} is not there: give the path of the weights') from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(
            f'{path} is no weights file that can be read without running code: '
            f'{str(error).splitlines()[0]}'
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, expected tensors by name')
    return content


def _safetensors_file(path: Path) -> Mapping[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f'{path} is not there: give the path of the weights') from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f'{path} is damaged or no safetensors file: {error}') from error
