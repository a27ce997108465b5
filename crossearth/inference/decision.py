"""Chooses the class of each pixel from the averaged scores."""

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
    """Chooses the most likely class, or with thresholds the most likely that reaches its own.

    With two classes and one threshold, the threshold alone decides: its class is chosen exactly
    where its probability is at least the threshold.

    Args:
        are_logits: Whether the averaged scores are logits rather than probabilities.
        thresholds: A pair (class id, probability) for each class that has a threshold.

    """

    are_logits: bool
    thresholds: tuple[tuple[int, float], ...] = ()

    def probabilities(self, scores: Float[Tensor, 'k h w']) -> Float[Tensor, 'k h w']:
        """Probabilities, which may be a view of the scores: do not change them."""
        return torch.softmax(scores, 0) if self.are_logits else scores

    def choose(self, scores: Float[Tensor, 'k h w'], *, out: Shaped[Tensor, 'h w']) -> None:
        """The class of each pixel.

        Args:
            scores: Averaged scores, one per class; not changed.
            out: Receives the labels, on the CPU, in any integer type that holds them.

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
            # a comparison with NaN is False, so NaN would silently become the other class
            require_finite(bool(torch.isfinite(probabilities.sum())))
            ((index, threshold),) = self.thresholds
            reached = probabilities[index] >= threshold
            out.copy_(reached if index == 1 else ~reached)
            return
        allowed = probabilities.clone()
        for index, threshold in self.thresholds:
            # NaN must survive, so that it is found
            allowed[index].masked_fill_(probabilities[index] < threshold, -1.0)
        most_likely(allowed, out=out)


def thresholds_by_id(
    thresholds: Sequence[tuple[str | int, float]], *, num_classes: int, labels: LabelSpace | None
) -> tuple[tuple[int, float], ...]:
    """Thresholds by class id, from thresholds of classes given by name or id.

    Raises:
        ConfigError: If a class does not exist or is named twice, or if every class has a threshold,
            so that none is left for pixels that reach no threshold.

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
            raise ConfigError(
                f'class_thresholds name class {index} twice: give each class one threshold'
            )
        found[index] = threshold
    if found and len(found) == num_classes:
        raise ConfigError(
            f'class_thresholds name all {num_classes} classes, so a pixel may reach none of them: '
            'leave out the class that such pixels should get, such as the background'
        )
    return tuple(sorted(found.items()))
