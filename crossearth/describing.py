"""How objects show themselves: one line of text, or a small table in a notebook.

`repr` of an object names the arguments that it keeps under their own names, with their values.
Notebooks call `_repr_html_`; everything that such a table shows is escaped, as names of files and
classes come from data.
"""

import inspect
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import PurePath

__all__ = ['Described', 'Html', 'arguments_of', 'colour_legend', 'count', 'html_table', 'plural']

type RGB = tuple[int, int, int]

_MOST_ITEMS = 12


class Html(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


class Described:
    """Base of classes whose `repr` names the arguments that an object keeps.

    Example:
        >>> class Sieve(Described):
        ...     def __init__(self, least_px: int, *, ratio: float = 0.1) -> None:
        ...         self.least_px = least_px
        ...         self.ratio = ratio
        >>> Sieve(4)
        Sieve(least_px=4, ratio=0.1)
    """

    def __repr__(self) -> str:
        return f'{type(self).__name__}({arguments_of(self)})'


def arguments_of(owner: object, **further: object) -> str:
    """`name=value, …` of the constructor's arguments that an object keeps under their own names.

    Only plain values are listed: numbers, text, paths, None, and sequences and mappings of them.
    Modules, datasets and generators are left out, as they describe themselves elsewhere.

    Args:
        owner: Any object with attributes.
        further: Values to list after them, or instead of those of the same name.
    """
    kept = vars(owner)
    named = {name: kept[name] for name in inspect.signature(type(owner)).parameters if name in kept}
    shown = {name: _text(value) for name, value in (named | further).items()}
    return ', '.join(f'{name}={text}' for name, text in shown.items() if text is not None)


def _text(value: object) -> str | None:
    """A plain value, floats to six digits; None for objects that are not plain values."""
    if isinstance(value, float):
        return f'{value:.6g}'
    if isinstance(value, PurePath):
        return repr(str(value))
    if value is None or isinstance(value, bool | int | str):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = [(_text(key), _text(item)) for key, item in value.items()]
        if any(key is None or item is None for key, item in pairs):
            return None
        return '{' + _cut(f'{key}: {item}' for key, item in pairs) + '}'
    if isinstance(value, list | tuple):
        items = [_text(item) for item in value]
        if any(item is None for item in items):
            return None
        ends = '[]' if isinstance(value, list) else '()'
        comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
        return ends[0] + _cut(str(item) for item in items) + comma + ends[1]
    return None


def _cut(items: Iterable[str]) -> str:
    """The first items, and how many are left out."""
    listed = list(items)
    left = len(listed) - _MOST_ITEMS
    more = [f'… {left} more'] if left > 0 else []
    return ', '.join([*listed[:_MOST_ITEMS], *more])


def count(number: int) -> str:
    """A large number in three digits.

    Example:
        >>> count(930), count(24_130_000), count(1_200_000_000)
        ('930', '24.1 M', '1.2 G')
    """
    for size, unit in ((10**9, ' G'), (10**6, ' M'), (10**3, ' k')):
        if number >= size:
            return f'{number / size:.3g}{unit}'
    return str(number)


def plural(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> plural(1, 'scene'), plural(12, 'scene'), plural(6, 'class')
        ('1 scene', '12 scenes', '6 classes')
    """
    ending = '' if number == 1 else 'es' if noun.endswith('s') else 's'
    return f'{number} {noun}{ending}'


def html_table(title: str, rows: Mapping[str, str]) -> Html:
    """A titled table of names and values.

    Args:
        title: Line above it.
        rows: Name → value. Values are escaped unless they are `Html`.

    Example:
        >>> '&lt;b&gt;' in html_table('scenes', {'domain': '<b>'})
        True
    """
    cell = 'style="text-align:left;vertical-align:top;padding:2px 12px 2px 0"'
    lines = ''.join(
        f'<tr><th scope="row" {cell}>{escape(name)}</th>'
        f'<td {cell}>{value if isinstance(value, Html) else escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return Html(f'<div><strong>{escape(title)}</strong><table><tbody>{lines}</tbody></table></div>')


def colour_legend(names: Sequence[str], palette: Sequence[RGB]) -> Html:
    """Names of classes, each after a square of its colour."""
    box = 'display:inline-block;width:0.8em;height:0.8em;border:1px solid #888;margin-right:0.3em'
    entries = [
        f'<span style="white-space:nowrap;margin-right:0.9em"><span style="{box};background:'
        f'#{red:02x}{green:02x}{blue:02x}"></span>{escape(name)}</span>'
        for name, (red, green, blue) in zip(names, palette, strict=True)
    ]
    return Html(' '.join(entries))
