"""The network that says how far apart the pixels of an image are, and its file."""

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

_CLAMP = 4.0  # standard deviations
_LEAST_SPREAD = 0.02  # added, so that noise of flat images is not blown up


class PyramidStatistics(nn.Module):
    """Means and spreads of the feature maps of a frozen encoder.

    Args:
        backbone: Normalised image → features.

    Attributes:
        width: Numbers it gives of an image.
    """

    def __init__(self, backbone: TimmPyramid) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False)
        self.width = 2 * sum(backbone.channels)

    def forward(self, grey: Float[Tensor, 'b 1 h w']) -> Float[Tensor, 'b d']:
        """Mean and standard deviation of each channel of the four maps.

        Args:
            grey: Of mean 0 and standard deviation 1.
        """
        maps = self.backbone(grey.expand(-1, 3, -1, -1)).maps
        means = [m.mean((2, 3)) for m in maps]
        spreads = [m.std((2, 3), correction=0) for m in maps]
        return torch.cat(means + spreads, 1)


class GsdNetwork(nn.Module):
    """A frozen encoder and a linear head on what it gives.

    Images are seen in grey, of mean 0 and standard deviation 1: colour and exposure say which
    sensor and place it is, by which a head would know the domains that it was fitted on. So any
    number of bands can be seen.

    Args:
        encoder: Grey image (b, 1, h, w) → features (b, d); frozen.
        width: Their number.

    Attributes:
        centre: Mean of each feature over the images that the head was fitted on.
        scale: Standard deviation of each feature where only the size of the pixels changes.
        weight: Of each feature.
        bias: log2 of the distance, in metres, at `centre`.
        error_octaves: 5 % and 95 % quantile of truth minus estimate on images that were held out,
            in octaves.
        held_out_domains: Domains that were held out, each in turn, to measure the error; 0 if
            images were, of the same domains.
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
        """What the encoder gives of images in [0, 1]."""
        grey = image.mean(1, keepdim=True)
        spread, mean = torch.std_mean(grey, (2, 3), keepdim=True)
        features: Tensor = self.encoder((grey - mean) / (spread + _LEAST_SPREAD))
        return features

    def octaves(self, features: Float[Tensor, 'b d']) -> Float[Tensor, ' b']:
        """log2 of the ground sampling distance in metres, from features."""
        return self.standardised(features) @ self.weight + self.bias

    def standardised(self, features: Float[Tensor, 'b d']) -> Float[Tensor, 'b d']:
        """Features in standard deviations from the centre; one far off does not rule the answer."""
        return ((features - self.centre) / self.scale).clamp(-_CLAMP, _CLAMP)

    def forward(self, image: Float[Tensor, 'b c h w']) -> Float[Tensor, ' b']:
        """log2 of the ground sampling distance in metres, of images in [0, 1]."""
        return self.octaves(self.features(image))


@builder
def gsd_network(
    name: str = 'tf_efficientnet_lite0', *, pretrained: bool | str = False
) -> GsdNetwork:
    """A network with an untrained head, see `fit_gsd_estimator`.

    Args:
        name: timm model with maps at strides 4 to 32 that takes images of any size: a CNN.
        pretrained: True for timm's weights, a path to a local file, False for random ones.

    Raises:
        ConfigError: If timm has no such model, or it has no such maps.
        CheckpointError: If its weights cannot be had or do not fit.
    """
    backbone = TimmPyramid(create_timm(name, pretrained=pretrained))
    if backbone.one_size:
        raise ConfigError(f'{name} takes images of one size only: choose a CNN, such as resnet18')
    encoder = PyramidStatistics(backbone)
    return GsdNetwork(encoder, width=encoder.width).eval()


def save_gsd_estimator(network: GsdNetwork, path: str | Path) -> Path:
    """Write a fitted network, its encoder included, as safetensors.

    Raises:
        ConfigError: If it was not fitted.
        WriteError: If the file cannot be written.
    """
    known = imagery_of(network)
    if known.gsd_range_m is None:
        raise ConfigError('this network was not fitted: pass what fit_gsd_estimator gives')
    return save_model(
        network,
        path,
        value_range=known.value_range,
        gsd_range_m=known.gsd_range_m,
        trainable_only=False,
    )


def load_gsd_estimator(path: str | Path) -> GsdNetwork:
    """The network of a file that `save_gsd_estimator` wrote, on the CPU.

    Raises:
        CheckpointError: If the file is damaged, or holds another model.
    """
    network = load_model(path, builders=[gsd_network])
    if not isinstance(network, GsdNetwork) or imagery_of(network).gsd_range_m is None:
        raise CheckpointError(
            f'{path} holds a {type(network).__name__}, not an estimator of ground sampling '
            'distances: expected a file that crossearth gsd --fit wrote'
        )
    if not bool((network.scale > 0).all()) or network.error_octaves[0] > network.error_octaves[1]:
        raise CheckpointError(f'{path} holds impossible numbers: fit it again')
    return network
