"""Encoders of segmentation_models_pytorch, and dilated timm networks, as backbones."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.models.adapters.layers import layer_depths
from crossearth.models.features import Features

__all__ = ['DilatedTimm', 'SmpPyramid']


class SmpPyramid(nn.Module):
    """An encoder of segmentation_models_pytorch with maps at strides 4, 8, 16 and 32.

    Args:
        encoder: From `segmentation_models_pytorch.encoders.get_encoder`, of depth 5.

    Raises:
        ConfigError: If it does not give maps of these strides.

    Example:
        >>> import torch
        >>> from segmentation_models_pytorch.encoders import get_encoder
        >>> backbone = SmpPyramid(get_encoder('mit_b0', weights=None))
        >>> backbone.channels
        (32, 64, 160, 256)
        >>> [tuple(m.shape[2:]) for m in backbone(torch.zeros(1, 3, 64, 96)).maps]
        [(16, 24), (8, 12), (4, 6), (2, 3)]
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        widths = list(getattr(encoder, 'out_channels', ()))
        stride = getattr(encoder, 'output_stride', None)
        if len(widths) != 6 or stride != 32:
            raise ConfigError(
                f'{type(encoder).__name__} has maps of widths {widths} and ends at stride '
                f'{stride}: expected an encoder of segmentation_models_pytorch of depth 5 and '
                'output_stride 32'
            )
        # The first two are the image itself and stride 2.
        c4, c8, c16, c32 = (int(width) for width in widths[2:])
        self.channels = (c4, c8, c16, c32)
        self.encoder = encoder

    def forward(self, image: Float[Tensor, 'b c h w']) -> Features:
        """Pyramid of a batch of normalised images, whose sides are multiples of 32 px."""
        c4, c8, c16, c32 = self.encoder(image)[2:]
        return Features((c4, c8, c16, c32))

    def layer_depths(self) -> dict[str, int]:
        """The layer of each parameter of a MiT; see `Layered`.

        The first embedding is layer 0 and every block is one more. A later embedding belongs to
        the block after it, and the norm of a stage to the last block of its stage.

        Raises:
            ConfigError: If the encoder is not a MiT.
        """
        stages = [getattr(self.encoder, f'block{stage}', None) for stage in range(1, 5)]
        blocks = [len(stage) for stage in stages if isinstance(stage, nn.Sequential)]
        if len(blocks) != len(stages):
            raise ConfigError(
                f'{type(self.encoder).__name__} does not say how deep its layers are: expected a '
                'MiT, such as mit_b5; train it with layer_decay=1'
            )
        depths = {}
        for name, _ in self.encoder.named_parameters():
            part, _, rest = name.partition('.')
            stage = int(part[-1]) - 1  # patch_embed1, block1, norm1, patch_embed2, …
            before = sum(blocks[:stage])
            if part.startswith('block'):
                depth = before + int(rest.split('.')[0]) + 1
            elif part.startswith('norm'):
                depth = before + blocks[stage]
            else:
                depth = before + min(stage, 1)
            depths[f'encoder.{name}'] = depth
        return depths


class DilatedTimm(nn.Module):
    """A timm CNN with dilated last stages: maps at strides 4, 8, 8 and 8.

    It is for the heads of DeepLab, which classify the coarsest map.

    Args:
        model: Built by `timm.create_model(…, output_stride=8)`.

    Raises:
        ConfigError: If its maps have other strides.

    Example:
        >>> import timm, torch
        >>> backbone = DilatedTimm(timm.create_model('resnet10t', output_stride=8))
        >>> [tuple(m.shape[2:]) for m in backbone(torch.zeros(1, 3, 64, 96)).maps]
        [(16, 24), (8, 12), (8, 12), (8, 12)]
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        timm: Any = model  # torch's types do not know forward_intermediates
        infos = list(getattr(timm, 'feature_info', ()))
        strides = [int(info['reduction']) for info in infos]
        if strides[-4:] != [4, 8, 8, 8]:
            raise ConfigError(
                f'{type(model).__name__} has maps at strides {strides}, expected the last to be 4, '
                '8, 8 and 8: build it with output_stride=8'
            )
        first = len(infos) - 4
        self.indices = tuple(range(first, len(infos)))
        c4, c8, c16, c32 = (int(info['num_chs']) for info in infos[first:])
        self.channels = (c4, c8, c16, c32)
        timm.prune_intermediate_layers(list(self.indices), prune_norm=True, prune_head=True)
        self.model = model

    def forward(self, image: Float[Tensor, 'b c h w']) -> Features:
        """Maps of a batch of normalised images, whose sides are multiples of 8 px."""
        c4, c8, c16, c32 = self.model.forward_intermediates(  # type: ignore[operator]  # timm's method
            image, indices=list(self.indices), output_fmt='NCHW', intermediates_only=True
        )
        return Features((c4, c8, c16, c32))

    def layer_depths(self) -> dict[str, int]:
        """The layer of each parameter, as timm counts it; see `Layered`."""
        return {f'model.{name}': depth for name, depth in layer_depths(self.model).items()}
