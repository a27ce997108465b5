"""How the class of a pixel is chosen from what was averaged."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.inference.stitching import most_likely, require_finite
from crossearth.labels import LabelSpace

__all__ = ['Decision', 'thresholds_by_id']


@dataclass(frozen=True, slots=True)
class Decision:
    """The most likely class, or with thresholds the most likely of those that reach theirs.

    With two classes and one threshold, it decides alone: the class is chosen where its probability
    is at least the threshold, and only there.

    Args:
        are_logits: Whether what was averaged are logits, rather than probabilities.
        thresholds: A pair (class id, probability) for each class that has a threshold.

    """

    are_logits: bool
    thresholds: tuple[tuple[int, float], ...] = ()

    def probabilities(self, scores: Float[Tensor, 'k h w']) -> Float[Tensor, 'k h w']:
        """Probabilities, not to be changed."""
        return torch.softmax(scores, 0) if self.are_logits else scores

    def choose(self, scores: Float[Tensor, 'k h w'], *, out: Shaped[Tensor, 'h w']) -> None:
        """The class of each pixel.

        Args:
            scores: What was averaged, one per class; not changed.
            out: Receives the labels: any integer type that holds them, on the CPU.

        Raises:
            ConfigError: If a score is not a number.

        Example:
            >>> labels = torch.empty((1, 3), dtype=torch.uint8)
            >>> scores = torch.tensor([[[0.3, 0.2, 0.5]], [[0.4, 0.6, 0.2]], [[0.3, 0.2, 0.3]]])
            >>> Decision(are_logits=False, thresholds=((1, 0.5),)).choose(scores, out=labels)
            >>> labels.tolist()
            [[0, 1, 0]]
        """
        if not self.thresholds:
            most_likely(scores, out=out)
            return
        probabilities = self.probabilities(scores)
        if len(scores) == 2 and len(self.thresholds) == 1:
            require_finite(bool(torch.isfinite(probabilities.sum())))
            ((index, threshold),) = self.thresholds
            reached = probabilities[index] >= threshold
            out.copy_(reached if index == 1 else ~reached)
            return
        allowed = probabilities.clone()
        for index, threshold in self.thresholds:
            # NaN stays, so that it is found
            allowed[index].masked_fill_(probabilities[index] < threshold, -1.0)
        most_likely(allowed, out=out)


def thresholds_by_id(
    thresholds: Sequence[tuple[str | int, float]], *, num_classes: int, labels: LabelSpace | None
) -> tuple[tuple[int, float], ...]:
    """Thresholds of classes that were given by name or id, by id.

    Raises:
        ConfigError: If there is no such class, one is there twice, or no class is left that is
            chosen where none reaches its threshold.

    Example:
        >>> from crossearth.labels import ISPRS
        >>> thresholds_by_id([('car', 0.7), (0, 0.5)], num_classes=6, labels=ISPRS)
        ((0, 0.5), (4, 0.7))
    """
    names = () if labels is None else labels.classes
    found: dict[int, float] = {}
    for name, threshold in thresholds:
        index = names.index(name) if isinstance(name, str) and name in names else name
        if not isinstance(index, int) or not 0 <= index < num_classes:
            raise ConfigError(
                f'class_thresholds name {name!r}: expected one of '
                f'{", ".join(names) or "no names"}, or an id from 0 to {num_classes - 1}'
            )
        if index in found:
            raise ConfigError(f'class_thresholds name class {index} twice: leave one out')
        found[index] = threshold
    if found and len(found) == num_classes:
        raise ConfigError(
            f'class_thresholds name all {num_classes} classes, so that a pixel may reach none: '
            'leave out the class that such pixels are to have, such as the background'
        )
    return tuple(sorted(found.items()))
