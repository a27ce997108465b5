"""The contract between backbones and decoders."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

__all__ = ['STRIDES', 'Backbone', 'Decoder', 'Features', 'Layered']

STRIDES = (4, 8, 16, 32)
"""Pixels of the image per cell of each map of `Features`."""


class Features(NamedTuple):
    """What a backbone hands to a decoder.

    Args:
        maps: Four feature maps at strides 4, 8, 16 and 32 of the image, fine to coarse.
        queries: Object queries linked from an adapter's tokens, (n, d), or None without them.
    """

    maps: tuple[
        Float[Tensor, 'b c4 h4 w4'],
        Float[Tensor, 'b c8 h8 w8'],
        Float[Tensor, 'b c16 h16 w16'],
        Float[Tensor, 'b c32 h32 w32'],
    ]
    queries: Float[Tensor, 'n d'] | None = None


@runtime_checkable
class Backbone(Protocol):
    """Any module that turns a normalised image into `Features`.

    `channels` gives the width of each of the four maps, fine to coarse.
    """

    channels: tuple[int, int, int, int]

    def __call__(self, image: Float[Tensor, 'b c h w']) -> Features:
        """Features of a batch of images."""
        ...


@runtime_checkable
class Layered(Protocol):
    """A backbone whose layers can learn at rates that fall with their distance from the decoder."""

    def layer_depths(self) -> Mapping[str, int]:
        """Map the name of each parameter to its layer, counted from 0 for the stem.

        Parameters that belong to no layer, such as those of a pyramid after the last one, are left
        out and learn at the full rate.
        """
        ...


@runtime_checkable
class Decoder(Protocol):
    """Any module that turns `Features` into logits and defines its own losses.

    `losses` is needed only for training with `Segmenter.losses`. A decoder that classifies masks
    and returns sums of probabilities instead of logits says so with `returns_sums = True`;
    `Segmenter` returns the logarithms of these.
    """

    num_classes: int

    def __call__(self, features: Features) -> Float[Tensor, 'b k h w']:
        """Logits on a grid over the same ground as the image."""
        ...

    def losses(
        self,
        features: Features,
        mask: Int64[Tensor, 'b h w'],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Weighted terms by name, to be summed; 255 in the mask is ignored."""
        ...
