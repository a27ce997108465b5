"""Scores of many domains in one table."""

import math
from collections.abc import Mapping

from jaxtyping import Int64
from torch import Tensor

from crossearth.columns import align_columns
from crossearth.labels import LabelSpace
from crossearth.metrics import iou_per_class, mean_iou

__all__ = ['score_table']


def score_table(confusion: Mapping[str, Int64[Tensor, 'k k']], labels: LabelSpace) -> str:
    """One line per domain: its mean IoU, and the IoU of each class, in percent.

    Args:
        confusion: Domain → counts, as in `TrainingTask.confusion`.
        labels: Names of the classes.

    Returns:
        Lines of aligned columns; `-` where a class does not occur.

    Example:
        >>> import torch
        >>> from crossearth.labels import ROAD
        >>> print(score_table({'source': torch.tensor([[3, 1], [0, 4]])}, ROAD))
        IoU in %  mIoU  background  road
        source    80.0        75.0  80.0
    """
    head = ['IoU in %', 'mIoU', *labels.classes]
    rows = [
        [domain, _percent(mean_iou(matrix, scored=labels.scored))]
        + [_percent(share) for share in iou_per_class(matrix).tolist()]
        for domain, matrix in confusion.items()
    ]
    return align_columns([head, *rows])


def _percent(share: float) -> str:
    return '-' if math.isnan(share) else f'{100 * share:.1f}'
