"""The page that sets the paper next to the code is complete, and its names exist."""

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest
from name_links import names_of
from reference import public_symbols

from crossearth.benchmark import METHODS
from crossearth.cli import _COMMANDS

PAGE = (Path(__file__).parents[2] / 'docs' / 'paper.md').read_text()
ROWS = [
    [cell.strip() for cell in line.strip('|').split('|')]
    for line in PAGE.splitlines()
    if line.startswith('| ') and not line.startswith('| paper')
]


def numbers(kind: str) -> list[int]:
    """Numbers in the first cells, such as `Figs. 7, 8 and 10` or `Figs. 12–18`."""
    found = []
    for first, *_ in ROWS:
        if match := re.match(rf'{kind} ([\d, and–]+)', first):
            for part in re.findall(r'\d+(?:–\d+)?', match[1]):
                low, _, high = part.partition('–')
                found += range(int(low), int(high or low) + 1)
    return found


@pytest.mark.parametrize(('kind', 'last'), [('eq.', 10), ('Table', 14), (r'Figs?\.', 18)])
def test_each_equation_table_and_figure_has_one_row(kind, last):
    assert sorted(numbers(kind)) == list(range(1, last + 1))


def test_each_name_exists():
    names = names_of(public_symbols())
    told = [text for row in ROWS for text in re.findall('`([^`]+)`', row[1])]
    assert len(told) > 60
    for text in told:
        if text.startswith('crossearth '):
            assert text.split()[1] in _COMMANDS
            continue
        name, *attributes = text.split('.')
        symbol = names[name]
        value = getattr(import_module(symbol.package), symbol.name)
        assert reduce(getattr, attributes, value) is not None


def test_each_method_of_a_table_exists():
    told = re.findall(r'Methods? `(\w+)`', PAGE)
    assert len(told) == 4
    assert set(told) <= set(METHODS)
