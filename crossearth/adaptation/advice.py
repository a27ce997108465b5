"""Recommends the adapted model or the original one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from crossearth.adaptation.change import Change
from crossearth.adaptation.gap import Gap

__all__ = ['SMALL_GAP', 'Advice', 'advise', 'distance_of', 'evenness']

SMALL_GAP = 0.20
"""Feature distance below which scenes count as the source itself, so that adapting only follows
chance in the windows. In `docs/evidence.md` it is 0.08 to 0.19 at home and 0.22 to 0.64 in other
places. If the model's file does not record features, the distance at the batch norms is used. It is
about the same if the norms were averaging in training."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What can be said without labels about whether adapting has helped.

    Args:
        use: Whether the adapted model is recommended.
        reasons: The reasons, one sentence each.
    """

    use: bool
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """The advice as text, for the terminal."""
        head = 'advice: use the adapted model' if self.use else 'ADVISED AGAINST the adapted model'
        return '\n'.join([head, *(f'  {reason}' for reason in self.reasons)])


def advise(gap: Gap, change: Change) -> Advice:
    """Recommend an adapted model, or advise against it.

    It is advised against if the scenes are close to the source, or if the areas of the classes
    become less even. Statistics of the scenes help a model to find classes that it misses, but can
    make it lose classes that it already finds. `docs/evidence.md` says how often this advice was
    right for a single class, and for which methods nothing was measured.

    Args:
        gap: From the source to the scenes.
        change: From the original model to the adapted one.

    Returns:
        The advice, with its reasons.
    """
    distance = distance_of(gap)
    before, after = evenness(change.before.areas), evenness(change.after.areas)
    reasons = []
    if distance is not None and distance < SMALL_GAP:
        reasons.append(
            f'the scenes are close to the source (features {distance:.2f}, less than '
            f'{SMALL_GAP}): there is little to adapt to, and chance in the windows does harm'
        )
    if after <= before:
        reasons.append(
            f'the areas of the classes become less even ({before:.3f} → {after:.3f}): '
            'classes that were found are lost'
            if after < before
            else f'the areas of the classes are as even as before ({after:.3f}): no missed class '
            'was found'
        )
    if reasons:
        return Advice(False, tuple(reasons))
    said = 'unknown' if distance is None else f'{distance:.2f}'
    return Advice(
        True,
        (
            f'the scenes are far from the source (features: {said}), and the areas of the classes '
            f'become more even ({before:.3f} → {after:.3f}); without labels this is '
            'a rule of thumb, see docs/evidence.md',
        ),
    )


def distance_of(gap: Gap) -> float | None:
    """Mean distance of the feature maps, or at the batch norms if the file records no features."""
    if gap.features:
        return sum(gap.features) / len(gap.features)
    return gap.norm_distance


def evenness(areas: Sequence[float]) -> float:
    """Entropy of the class areas: 0 if one class covers everything, 1 if all areas are equal.

    Example:
        >>> evenness((1.0, 0.0)), evenness((0.5, 0.5))
        (0.0, 1.0)
    """
    nats = -sum(area * math.log(area) for area in areas if area > 0)
    # The negated sum may be −0.0.
    return abs(nats) / math.log(max(len(areas), 2))
