"""The common part of decoders that give one logit per class and pixel."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from crossearth.models.decoders.losses import cross_entropy
from crossearth.models.features import Features

__all__ = ['PerPixelDecoder', 'stack_levels']


class PerPixelDecoder(nn.Module):
    """A decoder whose logits are enlarged to the mask and compared with it pixel by pixel."""

    num_classes: int

    def losses(
        self,
        features: Features,
        mask: Int64[Tensor, 'b h w'],
        *,
        generator: torch.Generator | None = None,  # noqa: ARG002 - other decoders sample
    ) -> dict[str, Tensor]:
        """Losses of every labelled pixel, see `losses_of`.

        Args:
            features: Output of the backbone.
            mask: Class ids at the image's size; 255 is ignored. If all pixels are ignored, the
                loss is zero.
            generator: Not used, because nothing is sampled.
        """
        logits = F.interpolate(
            self(features), mask.shape[-2:], mode='bilinear', align_corners=False
        )
        return self.losses_of(logits, mask)

    def losses_of(
        self, logits: Float[Tensor, 'b k h w'], mask: Int64[Tensor, 'b h w']
    ) -> dict[str, Tensor]:
        """Losses by name; here cross entropy, as in most papers."""
        return {'loss_ce': cross_entropy(logits, mask)}


def stack_levels(embeds: Iterable[nn.Module], features: Features) -> Float[Tensor, 'b c h4 w4']:
    """Each map through its layer, enlarged to the finest map, concatenated."""
    finest = features.maps[0].shape[-2:]
    levels = [
        F.interpolate(embed(level), finest, mode='bilinear', align_corners=False)
        for embed, level in zip(embeds, features.maps, strict=True)
    ]
    return torch.cat(levels, dim=1)
