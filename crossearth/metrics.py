"""Intersection over union from one confusion matrix per domain, exact for any batching."""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from crossearth.errors import LabelError, ShapeError
from crossearth.labels import IGNORE_INDEX

__all__ = ['confusion_matrix', 'iou_per_class', 'mean_iou']

_MOST_CELLS = 1 << 16  # of a table with a row for ignored pixels; it stays in the cache


def confusion_matrix(
    prediction: Int[Tensor, '*shape'],
    target: Int[Tensor, '*shape'],
    *,
    num_classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> Int64[Tensor, 'k k']:
    """Pixel counts, with the target class in rows and the predicted class in columns.

    The matrices of several batches, chips or processes add up to the matrix of their union. So add
    them first and compute each score once, from the sum.

    Args:
        prediction: Class ids in `[0, num_classes)`.
        target: Class ids of the same shape, or `ignore_index`.
        num_classes: Number of classes k.
        ignore_index: Pixels with this target value are not counted.

    Returns:
        Counts, on the device of `target`.

    Raises:
        ShapeError: If the shapes differ.
        LabelError: If an id is outside the range.

    Example:
        >>> confusion_matrix(
        ...     torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 255]), num_classes=2
        ... ).tolist()
        [[1, 1], [0, 1]]
    """
    if prediction.shape != target.shape:
        raise ShapeError(
            f'prediction is {tuple(prediction.shape)} but target is {tuple(target.shape)}: '
            'compare class ids of equal shape (take the argmax of logits first)'
        )
    guess, true = prediction.long(), target.long()
    counts = _count_all(guess, true, num_classes=num_classes, ignore_index=ignore_index)
    if counts is None:
        counts = _count_kept(guess, true, num_classes=num_classes, ignore_index=ignore_index)
    return counts


def _count_all(
    guess: Int64[Tensor, '*shape'],
    true: Int64[Tensor, '*shape'],
    *,
    num_classes: int,
    ignore_index: int,
) -> Int64[Tensor, 'k k'] | None:
    """`_count_kept` with ignored pixels in a row of their own, which takes a tenth of the time.

    None if ids do not fit such a table, wrong ones among them.
    """
    rows = max(num_classes, ignore_index + 1)
    if not true.numel() or rows * num_classes > _MOST_CELLS:
        return None
    for ids, count in ((guess, num_classes), (true, rows)):
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high >= count:
            return None
    cells = torch.add(guess, true, alpha=num_classes).flatten()
    table = torch.bincount(cells, minlength=rows * num_classes).view(rows, num_classes)
    if ignore_index >= 0:
        table[ignore_index] = 0
    # counts left beyond the classes are wrong ids, which `_count_kept` names
    return None if table[num_classes:].any() else table[:num_classes].clone()


def _count_kept(
    guess: Int64[Tensor, '*shape'],
    true: Int64[Tensor, '*shape'],
    *,
    num_classes: int,
    ignore_index: int,
) -> Int64[Tensor, 'k k']:
    """Counts of the pixels that are not ignored, for any ids; refuses wrong ones."""
    keep = true != ignore_index
    true, guess = true[keep], guess[keep]
    if true.numel():
        for name, ids in (('target', true), ('prediction', guess)):
            low, high = int(ids.min()), int(ids.max())
            if low < 0 or high >= num_classes:
                raise LabelError(
                    f'{name} holds ids from {low} to {high}, but there are {num_classes} classes: '
                    f'expected 0 to {num_classes - 1}, or {ignore_index} to ignore a pixel'
                )
    counts = torch.bincount(true * num_classes + guess, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def iou_per_class(confusion: Int64[Tensor, 'k k']) -> Float[Tensor, ' k']:
    """Intersection over union of each class, in [0, 1]; NaN where neither map holds the class.

    Example:
        >>> iou_per_class(torch.tensor([[3, 1], [0, 4]])).tolist()
        [0.75, 0.8]
    """
    matrix = confusion.double()
    hit = matrix.diagonal()
    return hit / (matrix.sum(0) + matrix.sum(1) - hit)


def mean_iou(confusion: Int64[Tensor, 'k k'], *, scored: tuple[int, ...] | None = None) -> float:
    """Mean of `iou_per_class` over the scored classes that occur, in [0, 1].

    Args:
        confusion: Counts from `confusion_matrix`.
        scored: Class ids to average; None for all. One-class tasks score their foreground only.

    Returns:
        The mean, NaN if none of the scored classes occurs.

    Example:
        >>> round(mean_iou(torch.tensor([[3, 1], [0, 4]])), 3)
        0.775
        >>> mean_iou(torch.tensor([[3, 1], [0, 4]]), scored=(1,))
        0.8
    """
    iou = iou_per_class(confusion)
    return float((iou if scored is None else iou[list(scored)]).nanmean())
