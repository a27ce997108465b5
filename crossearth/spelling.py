"""The nearest of the names that there are, for messages about one that there is not."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ['did_you_mean']


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing if no name is near.

    Args:
        wrong: What was given. Case is not looked at.
        known: The names that there are.

    Example:
        >>> did_you_mean('potsdm', ['Potsdam', 'Vaihingen'])
        "; did you mean 'Potsdam'?"
        >>> did_you_mean('x', ['Potsdam', 'Vaihingen'])
        ''
    """
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(wrong.lower(), list(by_lower), n=1, cutoff=0.6)
    return f'; did you mean {by_lower[near[0]]!r}?' if near else ''
