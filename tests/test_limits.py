"""Limits on the source: what a reader can take in at a time, and imports without cycles."""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'crossearth'
MOST_LINES = 100
MOST_ARGUMENTS = 12
REASON = re.compile(r'# many arguments: \S+ \S+')

Callable = ast.FunctionDef | ast.AsyncFunctionDef
Found = tuple[str, ast.AST, list[str]]


def definitions() -> Iterator[Found]:
    """Place, node and source lines of every function and class of the package."""
    for path in sorted(PACKAGE.rglob('*.py')):
        place = path.relative_to(PACKAGE)
        yield from definitions_in(path.read_text(), str(place))


def definitions_in(text: str, place: str) -> list[Found]:
    lines = text.splitlines()
    return [
        (f'{place}:{node.lineno} {node.name}', node, lines)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Callable | ast.ClassDef)
    ]


def fields(node: ast.ClassDef) -> list[str]:
    """Arguments that a dataclass or a named tuple takes; none of other classes."""
    words = ' '.join(ast.unparse(part) for part in (*node.decorator_list, *node.bases))
    if 'dataclass' not in words and 'NamedTuple' not in words:
        return []
    return [
        ast.unparse(line.target)
        for line in node.body
        if isinstance(line, ast.AnnAssign) and 'ClassVar' not in ast.unparse(line.annotation)
    ]


def arguments(node: ast.AST) -> list[str]:
    """Arguments of a public callable; none of a private one."""
    if node.name.startswith('_') and node.name != '__init__':
        return []
    if isinstance(node, ast.ClassDef):
        return fields(node)
    given = node.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ('self', 'cls')]


def too_long(found: Found) -> bool:
    _, node, _ = found
    return isinstance(node, Callable) and node.end_lineno - node.lineno + 1 > MOST_LINES


def too_wide(found: Found) -> bool:
    """Whether it takes too many arguments, and no line above its definition says why."""
    _, node, lines = found
    first = min([node.lineno, *(part.lineno for part in node.decorator_list)])
    return len(arguments(node)) > MOST_ARGUMENTS and not REASON.search(lines[first - 2])


def test_no_function_is_longer_than_a_reader_can_take_in():
    assert [found[0] for found in definitions() if too_long(found)] == []


def test_many_arguments_have_a_written_reason():
    assert [found[0] for found in definitions() if too_wide(found)] == []


@pytest.mark.parametrize(
    ('text', 'wide'),
    [
        ('def f({}): ...', True),
        ('def _f({}): ...', False),
        ('class A:\n    def __init__(self, *, {}): ...', True),
        ('# many arguments: they are columns of a table\ndef f({}): ...', False),
        ('# many arguments:\ndef f({}): ...', True),
        ('# many arguments: they are columns\n@cached\ndef f({}): ...', False),
    ],
)
def test_the_limit_of_arguments_is_one_that_can_be_broken(text, wide):
    for count, expected in ((MOST_ARGUMENTS, False), (MOST_ARGUMENTS + 1, wide)):
        names = ', '.join(f'a{i}' for i in range(count))
        found = definitions_in(f'\n{text.format(names)}', 'a.py')
        assert any(map(too_wide, found)) is expected


def test_fields_of_a_dataclass_are_arguments():
    body = '\n'.join(f'    a{i}: int' for i in range(MOST_ARGUMENTS + 1))
    (found,) = definitions_in(f'\n@dataclass(frozen=True)\nclass A:\n{body}', 'a.py')
    assert too_wide(found)


def test_the_limit_of_lines_is_one_that_can_be_broken():
    for count, expected in ((MOST_LINES - 1, False), (MOST_LINES, True)):
        (found,) = definitions_in('def f():\n' + '    g()\n' * count, 'a.py')
        assert too_long(found) is expected


def test_no_modules_import_one_another():
    grimp = pytest.importorskip('grimp', reason='comes with import-linter, of the extra dev')
    graph = grimp.build_graph('crossearth', exclude_type_checking_imports=True)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert len(imports) > 100
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError with the modules
