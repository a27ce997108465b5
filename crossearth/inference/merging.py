"""Merges several predictions of the same pixels into one."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32

from crossearth.errors import ConfigError

__all__ = ['Merge', 'checked_scales', 'merge_scores']

type Merge = Literal['mean', 'max', 'top2']


def checked_scales(scales: Sequence[float | int]) -> tuple[float, ...]:
    """Scales as a tuple.

    Raises:
        ConfigError: If the sequence is empty, or a scale is not positive or is repeated.
    """
    given = tuple(scales) if isinstance(scales, Sequence) else scales
    if (
        not isinstance(given, tuple)
        or not given
        or not all(isinstance(scale, int | float) for scale in given)
        or not all(math.isfinite(scale) and scale > 0 for scale in given)
        or len(set(given)) < len(given)
    ):
        raise ConfigError(
            f'scales are {given}: expected factors of the sides of the scene, above 0 and without '
            'repeats, such as (1, 0.5)'
        )
    return tuple(map(float, given))


def merge_scores(
    scores: Sequence[Float32[np.ndarray, 'k h w']],
    known: Sequence[Bool[np.ndarray, 'h w']],
    merge: Merge,
    *,
    class_id: int | None = None,
    are_logits: bool = False,
) -> tuple[Float32[np.ndarray, 'k h w'], Bool[np.ndarray, 'h w']]:
    """Merge the scores of several scales.

    Args:
        scores: Probabilities or logits of each scale.
        known: True where a scale has scores; its other values are ignored.
        merge: `'mean'` averages the scales that have scores at a pixel. `'max'` without a class
            takes the greatest score of each class, and `'top2'` the mean of its two greatest;
            both rescale probabilities to sum to 1.
        class_id: With `'max'`: a pixel takes all scores from the scale where this class has the
            greatest probability, so that the sum stays 1. With `'top2'`, it takes the mean of the
            two scales where it has the greatest. Ties go to the first scales.
        are_logits: Whether scores are logits, which need no rescaling.

    Returns:
        The scores, 0 where no scale has any, and True where at least one has.

    Example:
        >>> road, unsure = np.float32([[[0.4]], [[0.6]]]), np.float32([[[0.9]], [[0.1]]])
        >>> there = np.ones((1, 1), bool)
        >>> for merge, class_id in (('mean', None), ('max', None), ('max', 1), ('top2', 1)):
        ...     scales = [road, unsure, unsure]
        ...     merged, _ = merge_scores(scales, [there] * 3, merge, class_id=class_id)
        ...     print(merge, class_id, [round(float(p), 2) for p in merged.ravel()])
        mean None [0.73, 0.27]
        max None [0.6, 0.4]
        max 1 [0.4, 0.6]
        top2 1 [0.65, 0.35]
    """
    anywhere: Bool[np.ndarray, 'h w'] = np.logical_or.reduce(known)
    if merge == 'mean':
        merged, count = np.zeros_like(scores[0]), np.zeros(anywhere.shape, np.float32)
        for one, here in zip(scores, known, strict=True):
            merged += np.where(here, one, np.float32(0))
            count += here
        merged /= np.maximum(count, 1)
        return merged, anywhere
    if class_id is not None:
        merged = np.zeros_like(scores[0])
        for one, here in zip(
            scores, _surest(scores, known, class_id, merge, are_logits), strict=True
        ):
            merged += np.where(here, one, np.float32(0))
        if merge == 'top2':
            merged /= np.clip(np.add.reduce(known, dtype=np.float32), 1, 2)
        return merged, anywhere
    # logits may be negative, so the maximum cannot start from 0
    merged, second = (np.full_like(scores[0], -np.inf) for _ in range(2))
    for one, here in zip(scores, known, strict=True):
        if merge == 'top2':
            np.maximum(second, np.minimum(merged, one), out=second, where=here)
        np.maximum(merged, one, out=merged, where=here)
    if merge == 'top2':
        # one scale alone has no second
        np.add(merged, second, out=merged, where=second > -np.inf)
        np.divide(merged, 2, out=merged, where=second > -np.inf)
    # a softmax of −∞ alone would be NaN
    merged[:, ~anywhere] = 0
    if not are_logits:
        # the greatest probabilities of several scales add up to more than 1
        merged /= np.where(anywhere, merged.sum(axis=0), np.float32(1))
    return merged, anywhere


def _surest(
    scores: Sequence[Float32[np.ndarray, 'k h w']],
    known: Sequence[Bool[np.ndarray, 'h w']],
    class_id: int,
    merge: Merge,
    are_logits: bool,
) -> Bool[np.ndarray, 's h w']:
    """Which scales each pixel takes: the one, or the two, that are surest of a class."""
    sure = np.stack([_probability(one, class_id, are_logits=are_logits) for one in scores])
    there = np.stack(known)
    sure[~there] = -1
    ranks = np.argsort(np.argsort(-sure, axis=0, kind='stable'), axis=0)
    chosen: Bool[np.ndarray, 's h w'] = there & (ranks < (2 if merge == 'top2' else 1))
    return chosen


def _probability(
    scores: Float32[np.ndarray, 'k h w'], class_id: int, *, are_logits: bool
) -> Float32[np.ndarray, 'h w']:
    chosen: Float32[np.ndarray, 'h w'] = scores[class_id]
    if are_logits:
        chosen = torch.softmax(torch.from_numpy(scores), 0)[class_id].numpy()
    return chosen
