"""Names of which there are a few: which are allowed, and which is the nearest to a wrong one."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from crossearth.errors import ConfigError

__all__ = ['check_choice', 'did_you_mean']


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Check the value of an argument that is one of a few words.

    Args:
        name: Name of the argument.
        value: What was given.
        choices: The values that there are, `get_args` of a `Literal`.

    Raises:
        ConfigError: If the value is none of them.

    Example:
        >>> check_choice('portion', 'held-out', ('all', 'rest', 'held_out'))
        Traceback (most recent call last):
        crossearth.errors.ConfigError: portion is 'held-out': expected one of all, rest, held_out
    """
    if value not in choices:
        raise ConfigError(f'{name} is {value!r}: expected one of {", ".join(map(str, choices))}')


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
