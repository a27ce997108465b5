"""The network that estimates the pixel size of an image, and its file."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import CheckpointError, ConfigError
from crossearth.imagery import imagery_of
from crossearth.models import builder, load_model, save_model
from crossearth.models.backbones import TimmPyramid
from crossearth.models.weights.pretrained import create_timm

__all__ = ['GsdNetwork', 'gsd_network', 'load_gsd_estimator', 'save_gsd_estimator']

_CLAMP = 4.0  # in standard deviations
_LEAST_SPREAD = 0.02  # added to the spread, so that the noise of flat images is not amplified


class PyramidStatistics(nn.Module):
    """Means and spreads of the feature maps of a frozen encoder.

    Args:
        backbone: Normalised image → features.

    Attributes:
        width: Number of features per image.
    """

    def __init__(self, backbone: TimmPyramid) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.width = 2 * sum(backbone.channels)

    def forward(self, grey: Float[Tensor, 'b 1 h w']) -> Float[Tensor, 'b d']:
        """Mean and standard deviation of each channel of the four maps.

        Args:
            grey: Grey image with mean 0 and standard deviation 1.
        """
        maps = self.backbone(grey.expand(-1, 3, -1, -1)).maps
        means = [m.mean((2, 3)) for m in maps]
        spreads = [m.std((2, 3), correction=0) for m in maps]
        return torch.cat(means + spreads, 1)


class GsdNetwork(nn.Module):
    """A frozen encoder with a linear head.

    Images are seen in grey, with mean 0 and standard deviation 1. Colour and exposure would reveal
    the sensor and place, so a head could recognise the domains that it was fitted on. Because of
    the grey, images may have any number of bands.

    Args:
        encoder: Grey image (b, 1, h, w) → features (b, d); frozen.
        width: Number of features.

    Attributes:
        centre: Mean of each feature over the images that the head was fitted on.
        scale: Standard deviation of each feature when only the size of the pixels changes.
        weight: Weight of each feature.
        bias: log2 of the distance, in metres, at `centre`.
        error_octaves: 5 % and 95 % quantiles of truth minus estimate on held-out images, in
            octaves.
        held_out_domains: Number of domains that were held out, each in turn, to measure the error;
            0 if images of the same domains were held out.
    """

    centre: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    error_octaves: Tensor
    held_out_domains: Tensor

    def __init__(self, encoder: nn.Module, *, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        for name in ('centre', 'weight'):
            self.register_buffer(name, torch.zeros(width))
        self.register_buffer('scale', torch.ones(width))
        self.register_buffer('bias', torch.zeros(()))
        self.register_buffer('error_octaves', torch.zeros(2))
        self.register_buffer('held_out_domains', torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def features(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, 'b d']:
        """Features of images in [0, 1]."""
        grey = image.mean(1, keepdim=True)
        spread, mean = torch.std_mean(grey, (2, 3), keepdim=True)
        features: Tensor = self.encoder((grey - mean) / (spread + _LEAST_SPREAD))
        return features

    def octaves(self, features: Float[Tensor, 'b d']) -> Float[Tensor, ' b']:
        """Predict log2 of the ground sampling distance in metres, from features."""
        return self.standardised(features) @ self.weight + self.bias

    def standardised(self, features: Float[Tensor, 'b d']) -> Float[Tensor, 'b d']:
        """Features in standard deviations from the centre, clamped so that none dominates."""
        return ((features - self.centre) / self.scale).clamp(-_CLAMP, _CLAMP)

    def forward(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, ' b']:
        """Predict log2 of the ground sampling distance in metres, from images in [0, 1]."""
        return self.octaves(self.features(image))


@builder
def gsd_network(
    name: str = 'tf_efficientnet_lite0', *, pretrained: bool | str = False
) -> GsdNetwork:
    """A network with an untrained head, see `fit_gsd_estimator`.

    Args:
        name: timm model with maps at strides 4 to 32 that takes images of any size, so a CNN.
        pretrained: True for timm's weights, a path to a local file, False for random ones.

    Raises:
        ConfigError: If timm does not have the model, or the model has no such maps.
        CheckpointError: If its weights cannot be loaded or do not match.
    """
    backbone = TimmPyramid(create_timm(name, pretrained=pretrained))
    if backbone.one_size:
        raise ConfigError(f'{name} only takes images of one size: choose a CNN, such as resnet18')
    encoder = PyramidStatistics(backbone)
    return GsdNetwork(encoder, width=encoder.width).eval()


def save_gsd_estimator(network: GsdNetwork, path: str | Path) -> Path:
    """Write a fitted network with its encoder, as safetensors.

    Raises:
        ConfigError: If it was not fitted.
        WriteError: If the file cannot be written.
    """
    known = imagery_of(network)
    if known.gsd_range_m is None:
        raise ConfigError('this network was not fitted: pass it to fit_gsd_estimator first')
    return save_model(
        network,
        path,
        value_range=known.value_range,
        gsd_range_m=known.gsd_range_m,
        trainable_only=False,
    )


def load_gsd_estimator(path: str | Path) -> GsdNetwork:
    """Load a network from a file that `save_gsd_estimator` wrote, on the CPU.

    Raises:
        CheckpointError: If the file is damaged, or holds another model.
    """
    if not Path(path).is_file():
        raise CheckpointError(
            f'there is no estimator at {path}: write one with crossearth gsd FOLDER … --fit FILE'
        )
    network = load_model(path, builders=[gsd_network])
    if not isinstance(network, GsdNetwork) or imagery_of(network).gsd_range_m is None:
        raise CheckpointError(
            f'{path} holds a {type(network).__name__}, not an estimator of ground sampling '
            'distances: expected a file written by crossearth gsd --fit'
        )
    if not bool((network.scale > 0).all()) or network.error_octaves[0] > network.error_octaves[1]:
        raise CheckpointError(f'{path} holds impossible numbers: fit it again')
    return network
