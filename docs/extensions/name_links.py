"""Names of the library in running text become links to the reference.

Inline code such as `FolderDataset`, `crossearth.predict_scene` or `Windows(scales=(1, 0.5))` links
to the page of its name. A name that two packages use for different things links only with its
package (`benchmark.Method`), and a plain lower-case word (`merged`) only with its package or with
parentheses, because it may be a word of another language: of a shell, of YAML.
"""

import re
from collections import defaultdict

from docutils import nodes
from reference import FOLDER, Symbol, public_symbols
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import make_refnode

NAME = re.compile(r'^(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?P<call>\(.*\))?$', re.DOTALL)
WORD = re.compile(r'^[a-z]+$')


def names_of(symbols: dict[str, dict[str, Symbol]]) -> dict[str, Symbol]:
    """Each way to write a public name that means one thing: bare, or below any of its packages."""
    meanings: dict[str, set[Symbol]] = defaultdict(set)
    for package, offered in symbols.items():
        parts = package.split('.')
        for name, symbol in offered.items():
            meanings[symbol.source].add(symbol)
            for first in range(len(parts) + 1):
                meanings['.'.join([*parts[first:], name])].add(symbol)
    return {name: found.pop() for name, found in meanings.items() if len(found) == 1}


def find_name(text: str, names: dict[str, Symbol]) -> str | None:
    """The full name in the reference that inline code names, or None."""
    if not (match := NAME.match(text)):
        return None
    path, rest = match['path'], ''
    while path not in names and '.' in path:
        path, _, last = path.rpartition('.')
        rest = f'.{last}{rest}'
    if path not in names or (WORD.match(path) and not match['call']):
        return None
    return names[path].full_name + rest


class LinkNames(SphinxTransform):
    """Wraps inline code that names a symbol in a reference that may stay unresolved."""

    default_priority = 500

    def apply(self) -> None:
        names = self.app.public_names
        for literal in list(self.document.findall(nodes.literal)):
            if self._is_linked_or_heading(literal):
                continue
            if full_name := find_name(literal.astext(), names):
                reference = addnodes.pending_xref(
                    '', refdomain='py', reftype='obj', reftarget=full_name, refexplicit=True
                )
                reference['refdoc'] = self.env.docname
                literal.replace_self(reference)
                reference += literal

    def _is_linked_or_heading(self, literal: nodes.literal) -> bool:
        node = literal.parent
        while node is not None:
            if isinstance(node, nodes.reference | addnodes.pending_xref | nodes.title):
                return True
            node = node.parent
        return False


def resolve_source(app, env, node, content):
    """Signatures name a class by the module that defines it; its page has its public name."""
    target = node.get('reftarget', '')
    symbol = app.public_names.get(target)
    if node.get('refdomain') != 'py' or symbol is None or target == symbol.full_name:
        return None
    page = f'{FOLDER}/{symbol.full_name}'
    return make_refnode(app.builder, node['refdoc'], page, symbol.full_name, content)


def setup(app):
    app.public_names = names_of(public_symbols())
    app.add_transform(LinkNames)
    app.connect('missing-reference', resolve_source)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
