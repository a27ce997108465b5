"""Images of any size, padded to whole multiples of a patch or stride."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ['pad_to_multiple']


def pad_to_multiple(
    image: Float[Tensor, 'b c h w'], rows_px: int, cols_px: int
) -> Float[Tensor, 'b c h2 w2']:
    """An image whose sides are multiples, its lower and right borders repeated.

    Unlike zeros, a repeated border draws no edge; unlike mirroring, it works at any size.

    Args:
        image: Images of at least one pixel.
        rows_px: What the height shall be a multiple of.
        cols_px: What the width shall be a multiple of.

    Example:
        >>> import torch
        >>> pad_to_multiple(torch.arange(3.0).view(1, 1, 1, 3), 1, 2).flatten().tolist()
        [0.0, 1.0, 2.0, 2.0]
    """
    height, width = image.shape[-2:]
    # By floor division: inductor cannot compile the remainder of a size that it does not know.
    down = -(-height // rows_px) * rows_px - height
    right = -(-width // cols_px) * cols_px - width
    return F.pad(image, (0, right, 0, down), mode='replicate')
