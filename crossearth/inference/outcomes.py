"""The outcome of each scene in a run over many."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from crossearth.describing import plural

__all__ = ['Outcome', 'Summary']

_WAYS = 5  # at most this many lines on how scenes were seen


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one scene.

    Args:
        scene: Name of the scene.
        destination: Path of its map.
        status: `'done'` in this run, `'present'` from an earlier run, `'failed'` in this run and to
            be tried again in the next, or `'quarantined'` because it failed too often.
        seconds: Time that the map took.
        windows_run: Windows that the model saw.
        lost: Number of blocks that could not be read.
        error: The last failure, in one line.
        seen: One line on the size of its pixels, what the model saw, and why; for scenes done in
            this run.
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
    """The outcomes of all scenes, in the order they were given."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    def count(self, status: str) -> int:
        """Number of scenes with a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def __str__(self) -> str:
        """Counts, how scenes were seen, and a line per scene without a map or with lost blocks."""
        windows = sum(outcome.windows_run for outcome in self.outcomes)
        states = ('done', 'present', 'failed', 'quarantined')
        lines = [
            ', '.join(f'{self.count(state)} {state}' for state in states)
            + f'; {plural(windows, "window")} in {self.seconds:.1f} s'
        ]
        seen = Counter(outcome.seen for outcome in self.outcomes if outcome.seen)
        lines += [f'{plural(count, "scene")}: {how}' for how, count in seen.most_common(_WAYS)]
        if len(seen) > _WAYS:
            lines.append(f'{sum(seen.values())} scenes were seen in {len(seen)} ways, see receipts')
        for outcome in self.outcomes:
            if outcome.error:
                lines.append(f'{outcome.status}: {outcome.scene}: {outcome.error}')
            elif outcome.lost:
                lines.append(f'{plural(outcome.lost, "block")} lost: {outcome.scene}')
        return '\n'.join(lines)
