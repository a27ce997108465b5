"""torchvision's Swin transformers, which torchgeo publishes weights for, as pyramids."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from crossearth.models.features import Features

__all__ = ['SwinPyramid']


class SwinPyramid(nn.Module):
    """A Swin transformer (v1 or v2) of torchvision, with maps at strides 4, 8, 16 and 32.

    It takes images of any size, because torchvision pads incomplete windows. All of it trains.

    Args:
        swin: `torchvision.models.SwinTransformer`. It is taken over, without its classifier and
            the norm before it.

    Example:
        >>> import torch
        >>> from torchvision.models import SwinTransformer
        >>> swin = SwinTransformer([4, 4], 24, [1, 1, 1, 1], [1, 2, 4, 8], [7, 7])
        >>> backbone = SwinPyramid(swin)
        >>> backbone.channels
        (24, 48, 96, 192)
        >>> [tuple(m.shape[2:]) for m in backbone(torch.zeros(1, 3, 64, 96)).maps]
        [(16, 24), (8, 12), (4, 6), (2, 3)]
    """

    def __init__(self, swin: nn.Module) -> None:
        super().__init__()
        theirs: Any = swin
        self.features = theirs.features
        width = int(theirs.features[0][0].out_channels)
        self.channels = (width, 2 * width, 4 * width, 8 * width)

    def forward(self, image: Float[Tensor, 'b c h w']) -> Features:
        """Pyramid of a batch of normalised images.

        Args:
            image: Normalised images. Maps are at ⌈side / stride⌉ for sides that are multiples
                of 4 px.

        Returns:
            Four maps, no queries.
        """
        maps = []
        tokens = image
        for layer in self.features:  # embedding, stage, merging, stage, …, stage
            tokens = layer(tokens)
            maps.append(tokens)
        c4, c8, c16, c32 = (maps[index].permute(0, 3, 1, 2) for index in (1, 3, 5, 7))
        return Features((c4, c8, c16, c32))

    def layer_depths(self) -> dict[str, int]:
        """The layer of each parameter; see `Layered`.

        The embedding is layer 0 and every block is one more. What merges patches belongs to the
        block after it.
        """
        depths, blocks = {}, 0
        for index, part in enumerate(self.features):
            stage = index % 2 == 1  # embedding, stage, merging, stage, …, stage
            for name, _ in part.named_parameters():
                ahead = int(name.split('.')[0]) + 1 if stage else min(index, 1)
                depths[f'features.{index}.{name}'] = blocks + ahead
            blocks += len(part) if stage else 0
        return depths
