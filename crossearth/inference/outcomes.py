"""What became of the scenes of a run."""

from dataclasses import dataclass
from typing import Literal

__all__ = ['Outcome', 'Summary']


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
    """

    scene: str
    destination: str
    status: Literal['done', 'present', 'failed', 'quarantined']
    seconds: float = 0.0
    windows_run: int = 0
    lost: int = 0
    error: str = ''


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of all scenes, in the order they were given."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    def count(self, status: str) -> int:
        """Number of scenes with a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    def __str__(self) -> str:
        """A line of numbers, and one for every scene that has no map or lost blocks."""
        windows = sum(outcome.windows_run for outcome in self.outcomes)
        states = ('done', 'present', 'failed', 'quarantined')
        lines = [
            ', '.join(f'{self.count(state)} {state}' for state in states)
            + f'; {windows} windows in {self.seconds:.1f} s'
        ]
        for outcome in self.outcomes:
            if outcome.error:
                lines.append(f'{outcome.status}: {outcome.scene}: {outcome.error}')
            elif outcome.lost:
                lines.append(f'{outcome.lost} blocks lost: {outcome.scene}')
        return '\n'.join(lines)
