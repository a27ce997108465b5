"""Weights of the style networks, from where they are published."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import Weights, WeightsEnum

from crossearth.errors import CheckpointError
from crossearth.models.style.predictor import MobileStylePredictor, StylePredictor
from crossearth.models.style.transformer import GhiasiTransformer
from crossearth.models.weights.fitting import fit_weights
from crossearth.models.weights.reading import read_entries

__all__ = [
    'GhiasiTransformer_Weights',
    'StyleNetworks',
    'StylePredictor_Weights',
    'light_style_networks',
    'load_style_predictor',
    'load_style_transformer',
    'released_style_networks',
    'style_augmentation_networks',
]

_PUBLISHED = (
    'https://raw.githubusercontent.com/philipjackson/style-augmentation/'
    '0273e2e66a894d553c7466773802e09eae41f698/styleaug/checkpoints/'
)
_LIGHT = ('.onnx', '.npz')
# Statistics that InstanceNorm2d stored in early releases of PyTorch and never used.
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
    """A style predictor, from any of the places where weights are published.

    Args:
        origin: Published weights, downloaded once into PyTorch's hub folder, or a file. Files can
            be `checkpoint_stylepredictor.pth` of style-augmentation, a released CrossEarth file
            with `augmentor.*`, or, ending in `.onnx` or `.npz`, `arbitrary_predict` of the light
            model or its dequantised convolutions.
        progress: Whether to show the progress of a download.

    Returns:
        A frozen network on the CPU.

    Raises:
        CheckpointError: If a file does not exist, is damaged, or does not fit.
        ConfigError: If an ONNX file is given and the package `onnx` is not installed.
    """
    path = _fetched(origin, progress=progress)
    if path.suffix in _LIGHT:
        return _light(MobileStylePredictor(), path, _mobile_name)
    return _full_width(StylePredictor(), path, 'stylePredictor')


def load_style_transformer(
    origin: Path | str | GhiasiTransformer_Weights = GhiasiTransformer_Weights.STYLE_AUGMENTATION,
    *,
    progress: bool = True,
) -> GhiasiTransformer:
    """A style transformer, from any of the places where weights are published.

    Args:
        origin: Published weights, or a file: `checkpoint_transformer.pth` of style-augmentation, a
            released CrossEarth file with `augmentor.*`, or, ending in `.onnx` or `.npz`,
            `arbitrary_transform` of the light model or its dequantised convolutions. It must come
            from the same source as its predictor.
        progress: Whether to show the progress of a download.

    Returns:
        A frozen network on the CPU.

    Raises:
        CheckpointError: If a file does not exist, is damaged, or does not fit.
        ConfigError: If an ONNX file is given and the package `onnx` is not installed.
    """
    path = _fetched(origin, progress=progress)
    if path.suffix in _LIGHT:
        network = GhiasiTransformer(widths=(8, 16, 32), contract_norm=False)
        return _light(network, path, _light_name)
    return _full_width(GhiasiTransformer(), path, 'ghiasi')


def style_augmentation_networks() -> StyleNetworks:
    """The full-width networks with the published weights of style-augmentation, downloaded once.

    Source:
        Jackson et al., arXiv 1809.05375.
    """
    return StyleNetworks(load_style_predictor(), load_style_transformer())


def released_style_networks(state: Mapping[str, Tensor], *, name: str = 'state') -> StyleNetworks:
    """The full-width networks from the `augmentor.*` tensors of a released CrossEarth file.

    Args:
        state: All tensors of the file, or some; those of other parts are ignored.
        name: Name of the file in error messages.

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
        Frozen networks on the CPU. Weights are dequantised. Activations are not rounded to int8 as
        in the files' own runtime, so outputs differ from it by that rounding.

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


def _fetched(origin: Path | str | WeightsEnum, *, progress: bool) -> Path:
    """A given file, or published weights in PyTorch's hub folder, downloaded if necessary."""
    if not isinstance(origin, WeightsEnum):
        return Path(origin)
    path = Path(torch.hub.get_dir(), 'checkpoints', Path(origin.url).name)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(origin.url, str(path), progress=progress)
        except OSError as error:
            raise CheckpointError(
                f'{origin.url} cannot be downloaded ({error}): fetch it by hand and pass the path '
                'of the file'
            ) from error
    return path


def _full_width[N: nn.Module](network: N, path: Path, part: str) -> N:
    """Load a network from a file of style-augmentation, or from its part of a released file."""
    state = read_entries(path, under=('state_dict_stylepredictor', 'state_dict_ghiasi'))[0]
    if any('augmentor.' in name for name in state):
        return _released(network, state, part, str(path))
    return _load(network, state, str(path))


def _released[N: nn.Module](network: N, state: Mapping[str, Tensor], part: str, name: str) -> N:
    """Load a network from the tensors `augmentor.<part>.*` of a released file."""
    pattern = re.compile(rf'(?:^|\.)augmentor\.{part}\.(.+)$')
    matches = {key: pattern.search(key) for key in state}
    found = {match[1]: state[key] for key, match in matches.items() if match}
    if not found:
        raise CheckpointError(
            f'{name} holds no tensor augmentor.{part}.*, as some released files have no '
            'style networks: load those of style-augmentation instead'
        )
    return _load(network, found, f'{name} (augmentor.{part})')


def _light[N: nn.Module](network: N, path: Path, rename: Callable[[str], str]) -> N:
    """Load a network from the convolutions of a file of the light model."""
    wanted = network.state_dict()
    state: dict[str, Tensor] = {}
    for key, value in read_entries(path)[0].items():
        layer, _, kind = key.rpartition('|')
        renamed = f'{rename(layer)}.{kind}'
        shape = wanted.get(renamed, value).shape
        # 1×1 convolutions of a vector become linear layers here
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
        # of a style's two linear maps, the first is the shift and "_1" the scale
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
    """Fill a network completely, or raise an error that names what does not fit."""
    rename: Callable[[str], str] = (
        _reference_name if isinstance(network, GhiasiTransformer) else str
    )
    given = {rename(key): value for key, value in state.items() if not _OBSOLETE.search(key)}
    fit_weights(network, given, source=name)
    return network
