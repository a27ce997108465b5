"""Pages of the reference, written when the documentation is built.

Each package gets a page with tables of its public names, those of its `__all__`; each name gets a
page. A name that several packages offer has one page, in the first of them, and the tables of all
link to it. The pages are written into `docs/api/generated/`, which git ignores, and are rewritten
only when they change, so that a second build reads little.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from textwrap import indent
from types import ModuleType

from reference_values import shown_value
from sphinx.pycode import ModuleAnalyzer

SECTIONS: Mapping[str, tuple[str, ...]] = {
    'Start here': ('crossearth',),
    'Scenes, archives and transforms': (
        'crossearth.datasets',
        'crossearth.rasters',
        'crossearth.archives',
        'crossearth.synthetic',
        'crossearth.transforms',
    ),
    'Models': (
        'crossearth.models',
        'crossearth.models.backbones',
        'crossearth.models.adapters',
        'crossearth.models.decoders',
        'crossearth.models.style',
        'crossearth.models.hrda',
    ),
    'Training': ('crossearth.trainers', 'crossearth.trainers.methods'),
    'Maps': (
        'crossearth.inference',
        'crossearth.mosaic',
        'crossearth.catalog',
        'crossearth.viewer',
        'crossearth.resolution',
        'crossearth.adaptation',
    ),
    'Accuracy and experiments': (
        'crossearth.assessment',
        'crossearth.assessment.intervals',
        'crossearth.benchmark',
        'crossearth.reports',
        'crossearth.visualization',
        'crossearth.survey',
    ),
    'Values and mathematics': (
        'crossearth.labels',
        'crossearth.geometry',
        'crossearth.radiometry',
        'crossearth.batches',
        'crossearth.metrics',
        'crossearth.appearance',
        'crossearth.calibration',
        'crossearth.accuracy',
        'crossearth.source_statistics',
        'crossearth.errors',
    ),
}
"""Public packages in the order in which the reference shows them."""

PACKAGES = tuple(package for packages in SECTIONS.values() for package in packages)
KINDS = {'class': 'Classes', 'exception': 'Errors', 'function': 'Functions', 'data': 'Values'}
FOLDER = 'api/generated'


@dataclass(frozen=True, slots=True)
class Symbol:
    """A public name, on the page of the first package that offers it."""

    package: str
    name: str
    kind: str
    source: str
    """Full name of where it is defined, which is what Python itself says of it."""

    @property
    def full_name(self) -> str:
        return f'{self.package}.{self.name}'


def _symbol(package: str, name: str, value: object) -> Symbol:
    if inspect.isclass(value):
        kind = 'exception' if issubclass(value, BaseException) else 'class'
    else:
        kind = 'function' if inspect.isroutine(value) else 'data'
    if kind == 'data':
        source = f'{_defining_module(package, name, value)}.{name}'
    else:
        source = f'{value.__module__}.{value.__qualname__}'
    return Symbol(package, name, kind, source)


def _defining_module(package: str, name: str, value: object) -> str:
    """Constants do not know where they were defined; their documentation stands there."""
    module = import_module(package)
    if not hasattr(module, '__path__'):
        return package
    for path in sorted(Path(module.__path__[0]).glob('[a-z]*.py')):
        if f'\n{name}' in (text := path.read_text()) or f'\ntype {name} ' in text:
            inner = import_module(f'{package}.{path.stem}')
            if vars(inner).get(name) is value:
                return inner.__name__
    return package


def public_symbols() -> dict[str, dict[str, Symbol]]:
    """The symbols of each public package by their names; submodules are left out."""
    homes: dict[tuple[str, int], Symbol] = {}
    symbols: dict[str, dict[str, Symbol]] = {}
    for package in (*PACKAGES[1:], PACKAGES[0]):  # what `crossearth` offers has its home elsewhere
        module, symbols[package] = import_module(package), {}
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, ModuleType) and name != '__version__':
                key = name, id(value)
                symbols[package][name] = homes.setdefault(key, _symbol(package, name, value))
    return symbols


def _heading(text: str, line: str) -> str:
    return f'{text}\n{line * len(text)}\n\n'


def _table(symbols: list[Symbol]) -> str:
    """Names with the first paragraph of what is said of them."""
    rows = ''
    for symbol in symbols:
        summary = _documentation(symbol).split('\n\n')[0].replace('\n', ' ')
        rows += f'   * - :py:obj:`~{symbol.full_name}`\n     - {summary}\n'
    return f'.. list-table::\n   :widths: 35 65\n\n{rows}\n'


def _package_page(package: str, symbols: Mapping[str, Symbol]) -> str:
    """The text of the module, a table of its names for each kind, and the pages of its own."""
    page = _heading(package, '=')
    page += f'.. automodule:: {package}\n   :no-members:\n\n'
    own = [symbol for symbol in symbols.values() if symbol.package == package]
    for kind, title in KINDS.items():
        if of_kind := [symbol for symbol in symbols.values() if symbol.kind == kind]:
            page += _heading(title, '-') + _table(of_kind)
    if own:
        page += '.. toctree::\n   :hidden:\n\n'
        page += ''.join(f'   {symbol.name} <{symbol.full_name}>\n' for symbol in own)
    return page


def _symbol_page(symbol: Symbol) -> str:
    page = _heading(symbol.name, '=') + f'.. currentmodule:: {symbol.package}\n\n'
    if symbol.kind != 'data':
        page += f'.. auto{symbol.kind}:: {symbol.name}\n'
        value = getattr(import_module(symbol.package), symbol.name)
        plain = inspect.isclass(value) and value.__bases__ == (object,)  # a line that says nothing
        return page + '   :no-show-inheritance:\n' * plain
    value = getattr(import_module(symbol.package), symbol.name)
    text = f'{_documentation(symbol)}\n\n{shown_value(value)}'
    return page + f'.. data:: {symbol.name}\n\n' + indent(text, '   ')


def _documentation(symbol: Symbol) -> str:
    """Its docstring; that of a constant is the string below it, which Python does not keep."""
    module, name = symbol.source.rsplit('.', 1)
    if symbol.kind != 'data':
        return inspect.getdoc(getattr(import_module(symbol.package), symbol.name)) or ''
    found = ModuleAnalyzer.for_module(module).find_attr_docs()
    return '\n'.join(found.get(('', name), ())).strip()


def _index(sections: Mapping[str, tuple[str, ...]]) -> str:
    page = ''
    for title, packages in sections.items():
        page += _heading(title, '-') + _table_of_packages(packages)
        page += '.. toctree::\n   :hidden:\n\n'
        page += ''.join(f'   {package} <generated/{package}>\n' for package in packages) + '\n'
    return page


def _table_of_packages(packages: tuple[str, ...]) -> str:
    rows = ''
    for package in packages:
        summary = inspect.getdoc(import_module(package)).split('\n\n')[0].replace('\n', ' ')
        rows += f'   * - :doc:`{package} <generated/{package}>`\n     - {summary}\n'
    return f'.. list-table::\n   :widths: 35 65\n\n{rows}\n'


def write_reference(app, config=None) -> None:
    """Write the pages; those of names that are gone are removed."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    symbols = public_symbols()
    pages = {package: _package_page(package, symbols[package]) for package in PACKAGES}
    for names in symbols.values():
        pages |= {symbol.full_name: _symbol_page(symbol) for symbol in names.values()}
    for path in folder.glob('*.rst'):
        if path.stem not in pages:
            path.unlink()
    for name, text in {**pages, '_sections': _index(SECTIONS)}.items():
        path = folder / f'{name}.{"txt" if name == "_sections" else "rst"}'
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app):
    app.connect('config-inited', write_reference)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
