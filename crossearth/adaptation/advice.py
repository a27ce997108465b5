"""Whether an adapted model is to be used instead of the one that it was made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from crossearth.adaptation.change import Change
from crossearth.adaptation.gap import Gap

__all__ = ['SMALL_GAP', 'Advice', 'advise', 'distance_of', 'evenness']

SMALL_GAP = 0.20
"""Distance of features below which scenes count as the source itself: what adapting changes there
is chance in the windows. In `docs/evidence.md` it is 0.08 to 0.19 at home and 0.22 to 0.64 in other
places. Where the model's file does not record features, the distance at the batch norms stands in
for it, which is about the same if the norms were averaging in training."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What can be said without labels of whether adapting has helped.

    Args:
        use: Whether the adapted model is advised.
        reasons: Why, one sentence each.
    """

    use: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """For the terminal."""
        head = 'advice: use the adapted model' if self.use else 'ADVISED AGAINST the adapted model'
        return '\n'.join([head, *(f'  {reason}' for reason in self.reasons)])


def advise(gap: Gap, change: Change) -> Advice:
    """Advise for or against an adapted model.

    Against, where the scenes are not far from the source, and where the map becomes more one-sided:
    statistics of scenes help a model that misses classes to find them, and where it has found them
    already they take them away. How often that was right is in `docs/evidence.md`, for batch norms
    and a single class to be found; the page says for which methods nothing was measured.

    Args:
        gap: From the source to the scenes.
        change: From the model to the adapted one.

    Returns:
        The advice, with its reasons.
    """
    distance = distance_of(gap)
    before, after = evenness(change.before.areas), evenness(change.after.areas)
    reasons = []
    if distance is not None and distance < SMALL_GAP:
        reasons.append(
            f'the scenes are not far from the source (features {distance:.2f}, less than '
            f'{SMALL_GAP}): there is little to adapt to, and chance in the windows does harm'
        )
    if after <= before:
        reasons.append(
            f'the map becomes more one-sided (evenness of the areas {before:.3f} → {after:.3f}): '
            'classes that were found are lost'
            if after < before
            else f'the areas of the classes are as even as before ({after:.3f}): no class '
            'was found that had been missed'
        )
    if reasons:
        return Advice(False, tuple(reasons))
    said = 'not known' if distance is None else f'{distance:.2f}'
    return Advice(
        True,
        (
            f'the scenes are far from the source (features: {said}), and the map becomes less '
            f'one-sided (evenness of the areas {before:.3f} → {after:.3f}); without labels this is '
            'a rule of thumb, see docs/evidence.md',
        ),
    )


def distance_of(gap: Gap) -> float | None:
    """Mean distance of the feature maps; at the batch norms if the model's file records none."""
    if gap.features:
        return sum(gap.features) / len(gap.features)
    return gap.norm_distance


def evenness(areas: Sequence[float]) -> float:
    """Entropy of the classes' areas: 0 where one class has it all, 1 where all have the same.

    Example:
        >>> evenness((1.0, 0.0)), evenness((0.5, 0.5))
        (0.0, 1.0)
    """
    nats = -sum(area * math.log(area) for area in areas if area > 0)
    return abs(nats) / math.log(max(len(areas), 2))
