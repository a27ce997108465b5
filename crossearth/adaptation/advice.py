"""Whether an adapted model is to be used instead of the one that it was made of."""

from dataclasses import dataclass

from crossearth.adaptation.change import Change
from crossearth.adaptation.gap import Gap

__all__ = ['Advice', 'advise']


@dataclass(frozen=True, slots=True)
class Advice:
    """What the measurements say.

    Args:
        use: Whether the adapted model is advised; None where too little is known.
        reasons: Why, one sentence each.
    """

    use: bool | None
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """For the terminal."""
        head = {True: 'advice: use it', False: 'ADVISED AGAINST', None: 'no advice'}[self.use]
        return '\n'.join([head, *(f'  {reason}' for reason in self.reasons)])


def advise(gap: Gap, change: Change) -> Advice:
    """To be measured."""
    return Advice(None, ())
