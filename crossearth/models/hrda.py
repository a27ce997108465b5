"""HRDA: a large context at low resolution and its details in full, fused by learnt attention."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import IGNORE_INDEX
from crossearth.models.decoders.losses import cross_entropy
from crossearth.models.features import Backbone
from crossearth.models.padding import crop_to
from crossearth.models.segmenter import Segmenter

__all__ = ['HRDA']

_SHRINK = 2  # s of the paper: a context pixel is two pixels of the image
_STRIDE = 4  # o of the paper: the stride of the decoder's logits
_STEP_PX = _SHRINK * _STRIDE  # details begin on whole cells of the context's logits


class HRDA(Segmenter):
    """A backbone and decoder that see each image twice: all of it at half size, parts at full size.

    For an image x and its detail x_d, with φ = decoder(backbone(·)) and ζ the bilinear enlargement
    by s = 2:

    - context: x_c = x at half its size, y_c = φ(x_c)
    - attention: a = σ(attention(backbone(x_c))) per class and place, 0 outside of the detail
    - detail: y_d = φ(x_d)
    - logits: ζ((1 − a) · y_c) + ζ(a) · y_d

    In training the detail is one crop of `detail_px` per batch, at a random place. In inference,
    overlapping details cover the image and their logits are averaged; each row of details is one
    batch.

    Args:
        backbone: Normalised image → `Features`, at both sizes.
        decoder: `Features` → logits at stride 4.
        attention: `Features` → attention at stride 4, one value per class.
        mean: Mean per band, in [0, 1].
        std: Standard deviation per band, in [0, 1].
        detail_px: Side of a detail in image pixels, a multiple of 32; half the side of the
            training windows.
        detail_weight: λ_d, the weight of the loss on the detail alone.

    Raises:
        ConfigError: If an argument is out of range, or decoder and attention differ in classes.

    Source:
        Hoyer et al., HRDA, ECCV 2022, arXiv 2204.13949, §3.2 to 3.4: s = 2, λ_d = 0.1; for domain
        generalisation: arXiv 2304.13615, trained on the source alone.

    Example:
        >>> from crossearth.models.backbones import TimmPyramid
        >>> from crossearth.models.decoders import MLPDecoder
        >>> from crossearth.models.weights.pretrained import create_timm
        >>> backbone = TimmPyramid(create_timm('resnet10t'))
        >>> decoder, attention = (MLPDecoder(backbone.channels, 3, width=8) for _ in range(2))
        >>> model = HRDA(backbone, decoder, attention, mean=[0.5] * 3, std=[0.25] * 3, detail_px=64)
        >>> model.eval()(torch.rand(1, 3, 100, 130)).shape
        torch.Size([1, 3, 100, 130])
    """

    def __init__(
        self,
        backbone: Backbone,
        decoder: nn.Module,
        attention: nn.Module,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        detail_px: int,
        detail_weight: float = 0.1,
    ) -> None:
        # half of each side has to be a multiple of 32, too
        super().__init__(backbone, decoder, mean=mean, std=std, multiple_px=32 * _SHRINK)
        if detail_px < 32 or detail_px % 32 or not 0 <= detail_weight < 1:
            raise ConfigError(
                f'detail_px={detail_px}, detail_weight={detail_weight}: expected a multiple of 32 '
                'px, and a weight in [0, 1)'
            )
        if getattr(attention, 'num_classes', None) != self.num_classes:
            raise ConfigError(
                f'attention has {getattr(attention, "num_classes", None)} classes, the decoder '
                f'{self.num_classes}: expected one value of attention per class'
            )
        self.attention = attention
        self.detail_px = detail_px
        self.detail_weight = detail_weight

    def forward(self, image: Shaped[Tensor, 'b c h w']) -> Float[Tensor, 'b k h w']:
        """Logits of a batch of images, fused from both sizes.

        Args:
            image: Floating point, in [0, 1], of any size.

        Returns:
            Logits at the image's size.

        Raises:
            BandError: If the number of bands is not the model's.
            ShapeError: If the image is empty, not floating point, or not a batch.
        """
        height, width = image.shape[-2:]
        padded = self._pad(image)
        context, attention = self._context(padded)
        down, right = (side // _STRIDE for side in padded.shape[-2:])
        detail = context.new_zeros((*context.shape[:2], down, right))
        counts = context.new_zeros((down, right))
        lefts = self._starts(padded.shape[-1])
        for top in self._starts(padded.shape[-2]):
            strip = padded[..., top : top + self.detail_px, :]
            crops = torch.cat([strip[..., left : left + self.detail_px] for left in lefts])
            found = self.decoder(self._features(crops)).chunk(len(lefts))
            for left, logits in zip(lefts, found, strict=True):
                rows = slice(top // _STRIDE, top // _STRIDE + logits.shape[-2])
                cols = slice(left // _STRIDE, left // _STRIDE + logits.shape[-1])
                # logits of overlapping details are summed here and averaged below
                detail[..., rows, cols] += logits
                counts[rows, cols] += 1
        # Details cover every cell, so no count is 0.
        fused = _fuse(context, attention, detail / counts)
        return crop_to(_enlarge(fused, _STRIDE), height, width)

    def losses(
        self,
        image: Shaped[Tensor, 'b c h w'],
        mask: Int64[Tensor, 'b mask_h mask_w'],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Cross entropy of the fused logits and of the detail alone.

        Args:
            image: Floating point, in [0, 1], of any size.
            mask: Class ids at the image's size; 255 is ignored, and so is padding.
            generator: Draws the place of the detail; None for torch's global generator.

        Returns:
            `loss_ce`, weighted by 1 − λ_d, and `loss_detail`, weighted by λ_d.

        Raises:
            BandError: If the number of bands is not the model's.
            ShapeError: If the image is empty, not floating point, not a batch, or no larger than a
                detail, or the mask has another shape or type.
        """
        if mask.shape != image.shape[:1] + image.shape[2:] or mask.dtype != torch.int64:
            raise ShapeError(
                f'mask of shape {tuple(mask.shape)} and {mask.dtype} does not fit the image: '
                f'expected {(len(image), *image.shape[2:])} and torch.int64'
            )
        if max(image.shape[-2:]) <= self.detail_px:
            raise ShapeError(
                f'windows of {image.shape[-2]}x{image.shape[-1]} px are no larger than a detail '
                f'({self.detail_px} px), so there would be no context: train on larger windows, or '
                'build the model for these (img_size of hrda_mit_b5)'
            )
        padded = self._pad(image)
        height, width = padded.shape[-2:]
        fill = (0, width - mask.shape[-1], 0, height - mask.shape[-2])
        # Mirrored pixels of the padding have no label of their own.
        labels = F.pad(mask, fill, value=IGNORE_INDEX)
        context, attention = self._context(padded)
        top, side_y = self._draw(height, generator)
        left, side_x = self._draw(width, generator)
        crop = padded[..., top : top + side_y, left : left + side_x]
        logits = self.decoder(self._features(crop))
        detail = context.new_zeros((*context.shape[:2], height // _STRIDE, width // _STRIDE))
        # a = 0 outside the detail, where y_d is unknown
        inside = context.new_zeros(attention.shape[-2:])
        detail[
            ...,
            top // _STRIDE : (top + side_y) // _STRIDE,
            left // _STRIDE : (left + side_x) // _STRIDE,
        ] = logits
        inside[
            top // _STEP_PX : (top + side_y) // _STEP_PX,
            left // _STEP_PX : (left + side_x) // _STEP_PX,
        ] = 1
        fused = _enlarge(_fuse(context, attention * inside, detail), _STRIDE)
        seen = labels[..., top : top + side_y, left : left + side_x]
        own = cross_entropy(_enlarge(logits, _STRIDE), seen)
        return {
            'loss_ce': (1 - self.detail_weight) * cross_entropy(fused, labels),
            'loss_detail': self.detail_weight * own,
        }

    def _context(self, padded: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and attention of the whole image at half its size."""
        # At exactly half the size, bilinear sampling averages 2 × 2 pixels, so nothing aliases.
        small = F.interpolate(padded, scale_factor=1 / _SHRINK, mode='bilinear')
        features = self._features(small)
        return self.decoder(features), self.attention(features).sigmoid()

    def _starts(self, side: int) -> list[int]:
        """Starts of overlapping details that cover a side."""
        last = max(side - self.detail_px, 0)
        return [*range(0, last, self.detail_px // 2), last]

    def _draw(self, side: int, generator: torch.Generator | None) -> tuple[int, int]:
        """Start and length of a random detail along one side."""
        length = min(self.detail_px, side)
        places = (side - length) // _STEP_PX + 1
        device = None if generator is None else generator.device
        return int(torch.randint(places, (), generator=generator, device=device)) * _STEP_PX, length


def _fuse(
    context: Float[Tensor, 'b k h8 w8'],
    attention: Float[Tensor, 'b k h8 w8'],
    detail: Float[Tensor, 'b k h4 w4'],
) -> Float[Tensor, 'b k h4 w4']:
    """ζ((1 − a) · y_c) + ζ(a) · y_d."""
    seen_small = _enlarge((1 - attention) * context, _SHRINK)
    return seen_small + _enlarge(attention, _SHRINK) * detail


def _enlarge(x: Float[Tensor, 'b k h w'], factor: int) -> Float[Tensor, 'b k h2 w2']:
    size = (x.shape[-2] * factor, x.shape[-1] * factor)
    return F.interpolate(x, size, mode='bilinear', align_corners=False)
