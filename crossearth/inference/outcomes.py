"""What became of the scenes of a run."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

__all__ = ['Outcome', 'Summary']

_WAYS = 5  # in which scenes were seen, one line each


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a scene.

    Args:
        scene: Its name.
        destination: Its map.
        status: `'done'` now, `'present'` from an earlier run, `'failed'` now and to be tried in
            the next run, or `'quarantined'`: it failed too often.
        seconds: Time that the map took.
        windows_run: Windows that the model saw.
        lost: Number of blocks that could not be read.
        error: The last failure, in one line.
        seen: What its own pixels measure, what the model saw, and why; of those done now.
    """

    scene: str
    destination: str
    status: Literal['done', 'present', 'failed', 'quarantined']
    seconds: float = 0.0
    windows_run: int = 0
    lost: int = 0
    error: str = ''
    seen: str = ''


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of all scenes, in the order they were given."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    def count(self, status: str) -> int:
        """Number of scenes with a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def __str__(self) -> str:
        """A line of numbers, how scenes were seen, and a line for each without map or blocks."""
        windows = sum(outcome.windows_run for outcome in self.outcomes)
        states = ('done', 'present', 'failed', 'quarantined')
        lines = [
            ', '.join(f'{self.count(state)} {state}' for state in states)
            + f'; {windows} windows in {self.seconds:.1f} s'
        ]
        seen = Counter(outcome.seen for outcome in self.outcomes if outcome.seen)
        lines += [
            f'{count} scene{"s" * (count > 1)}: {how}' for how, count in seen.most_common(_WAYS)
        ]
        if len(seen) > _WAYS:
            lines.append(f'{sum(seen.values())} scenes were seen in {len(seen)} ways, see receipts')
        for outcome in self.outcomes:
            if outcome.error:
                lines.append(f'{outcome.status}: {outcome.scene}: {outcome.error}')
            elif outcome.lost:
                lines.append(f'{outcome.lost} blocks lost: {outcome.scene}')
        return '\n'.join(lines)
