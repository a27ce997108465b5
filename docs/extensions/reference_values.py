"""What the reference shows of a constant: its value, as a line or as a table."""

import inspect
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeAliasType, get_args, get_origin

from crossearth.labels import LabelSpace

__all__ = ['shown_value']

_MOST_FIELDS = 5  # of an entry that says nothing of itself


def shown_value(value: object) -> str:
    """The value as reStructuredText: empty where its documentation says all there is."""
    if isinstance(value, LabelSpace):
        rows = [
            [str(index), name, '#' + bytes(colour).hex()]
            for index, (name, colour) in enumerate(zip(value.classes, value.palette, strict=True))
        ]
        return _table(['Id', 'Class', 'Colour'], rows)
    if isinstance(value, Mapping):
        return _table(['Key', 'Value'], [[f'``{key}``', _line(one)] for key, one in value.items()])
    if isinstance(value, tuple) and any(is_dataclass(one) for one in value):
        return '\n'.join(f'- {_line(one)}' for one in value) + '\n'
    if isinstance(value, int | float | str | tuple):
        return f'Value: ``{value!r}``\n'
    if isinstance(value, TypeAliasType):
        value = value.__value__
    if get_origin(value) is Literal:
        return 'One of ' + ', '.join(f'``{one!r}``' for one in get_args(value)) + '.\n'
    return ''


def _line(value: Any) -> str:
    """What one line of a table says of an entry."""
    if inspect.isclass(value):
        return f':py:obj:`{value.__name__}`'
    if isinstance(value, LabelSpace):
        return ', '.join(value.classes)
    if not is_dataclass(value):
        return f'``{value!r}``'
    if hasattr(value, 'title'):
        return str(value.title)
    said = [
        f'{field.name.replace("_", " ")} ``{shown}``'
        for field in fields(value)
        if field.name != 'name' and (shown := _short(getattr(value, field.name)))
    ]
    return ', '.join(said[:_MOST_FIELDS])


def _short(value: Any) -> str:
    """A field's value where it fits into a line, or the name that it goes by."""
    if is_dataclass(value):
        return str(getattr(value, 'name', ''))
    if isinstance(value, int | float | str) and not isinstance(value, bool) and value != '':
        return str(value)
    return ''


def _table(head: list[str], rows: list[list[str]]) -> str:
    text = '.. list-table::\n   :header-rows: 1\n\n'
    for row in [head, *rows]:
        first, *others = row
        text += f'   * - {first}\n' + ''.join(f'     - {one}\n' for one in others)
    return text + '\n'
