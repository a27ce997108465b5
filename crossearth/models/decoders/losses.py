"""Segmentation losses that leave ignored pixels out."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, distributed

from crossearth.labels import IGNORE_INDEX

__all__ = ['cross_entropy', 'dice_loss', 'pixel_losses']

_ALONE = ContextVar('alone', default=False)


def dice_loss(
    logits: Float[Tensor, 'b k h w'], mask: Int64[Tensor, 'b h w'], *, eps: float = 1.0
) -> Float[Tensor, '']:
    """One minus the Dice coefficient of softmax probabilities, averaged over the classes present.

    Overlaps are computed over the whole batch, in distributed training over those of all processes.
    A class without a pixel in `mask` has no term, because its best value would not depend on the
    prediction. Ignored pixels have no effect.

    Args:
        logits: Scores of the classes.
        mask: Class ids, 255 = ignore.
        eps: Added to numerator and denominator.

    Returns:
        A value in [0, 1]; 0 if every pixel is ignored.

    Source:
        V-Net, arXiv 1606.04797, with squares in the denominator left out.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[[0, 1, 255]]])
        >>> logits = torch.tensor([[[[50.0, 0, 9]], [[0, 50.0, 0]]]])
        >>> round(float(dice_loss(logits, mask)), 4)
        0.0
    """
    keep = mask != IGNORE_INDEX
    probability = logits.float().softmax(dim=1)
    # one_hot takes no 255. Ignored pixels are class 0 here and removed by `keep` below.
    target = F.one_hot(mask.where(keep, 0), logits.shape[1]).movedim(-1, 1)
    target = target * keep[:, None]
    probability = probability * keep[:, None]
    overlap = sum_over_ranks((probability * target).sum(dim=(0, 2, 3)))
    size = sum_over_ranks(target.sum(dim=(0, 2, 3)).float())
    found = sum_over_ranks(probability.sum(dim=(0, 2, 3)))
    dice = (2 * overlap + eps) / (found + size + eps)
    present = (size > 0).float()
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def cross_entropy(
    logits: Float[Tensor, 'b k h w'], mask: Int64[Tensor, 'b h w']
) -> Float[Tensor, '']:
    """Cross entropy, averaged over the pixels that are not ignored, over all processes.

    Args:
        logits: Scores of the classes.
        mask: Class ids, 255 = ignore.

    Returns:
        0, with zero gradients, if every pixel is ignored.

    Example:
        >>> import torch
        >>> mask = torch.tensor([[[0, 1, 255]]])
        >>> round(float(cross_entropy(torch.zeros(1, 2, 1, 3), mask)), 4)
        0.6931
    """
    keep = sum_over_ranks((mask != IGNORE_INDEX).sum().float()).clamp(min=1)
    # reduction='mean' would be NaN if every pixel is ignored.
    entropy = F.cross_entropy(logits.float(), mask, ignore_index=IGNORE_INDEX, reduction='sum')
    # Times the number of processes, because DDP averages their gradients.
    return entropy * num_ranks() / keep


def pixel_losses(
    logits: Float[Tensor, 'b k h w'], mask: Int64[Tensor, 'b h w']
) -> dict[str, Float[Tensor, '']]:
    """`cross_entropy` and `dice_loss`.

    In distributed training the pixels are those of all processes. The mean over the processes, of
    values and of gradients, is then what one process would compute for all their samples. A batch
    whose pixels are all ignored gives 0 and zero gradients, not NaN.

    Args:
        logits: Scores of the classes.
        mask: Class ids, 255 = ignore.

    Returns:
        `loss_ce` and `loss_dice`, to be summed.

    Source:
        Paper §3.3: "both cross entropy loss and dice loss".

    Example:
        >>> import torch
        >>> mask = torch.tensor([[[0, 1, 255]]])
        >>> terms = pixel_losses(torch.zeros(1, 2, 1, 3), mask)
        >>> {name: round(float(value), 4) for name, value in terms.items()}
        {'loss_ce': 0.6931, 'loss_dice': 0.3333}
    """
    return {'loss_ce': cross_entropy(logits, mask), 'loss_dice': dice_loss(logits, mask)}


@contextmanager
def one_process() -> Iterator[None]:
    """Losses inside use only the samples of this process, and wait for no other.

    Example:
        >>> with one_process():
        ...     num_ranks()
        1
    """
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def num_ranks() -> int:
    """The number of processes that losses are summed over; 1 if training is not distributed."""
    if _ALONE.get() or not distributed.is_available() or not distributed.is_initialized():
        return 1
    return distributed.get_world_size()


def sum_over_ranks(value: Float[Tensor, '...']) -> Float[Tensor, '...']:
    """The sum of a tensor over all processes, with the gradient that averaging needs.

    Distributed training averages gradients over the processes. A loss that every process computes
    from a common sum then reaches each process's share with a gradient too small by their number,
    so it is multiplied by that number here.
    """
    ranks = num_ranks()
    if ranks == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total + ranks * (value - value.detach())
