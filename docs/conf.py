"""Sphinx configuration."""

import hashlib
import runpy
import sys
from pathlib import Path

import crossearth

project = 'crossearth'
author = 'the crossearth authors'
copyright = '2026, the crossearth authors'
version = release = crossearth.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
]
exclude_patterns = ['_build', 'generated', 'draw']
html_theme = 'pydata_sphinx_theme'
html_theme_options = {'show_toc_level': 2, 'navigation_with_keys': False}
html_title = 'crossearth'
html_sidebars = {'*': []}  # pages of the first level have no siblings to list
default_role = 'code'
myst_heading_anchors = 3
autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_member_order = 'bysource'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [('Source', 'notes_style')]


def draw_pictures(app):
    """Draw the pictures of the pages: none of them is kept in the repository.

    Each module of `docs/draw` has a function `draw(folder)` that writes files named after it. A
    module that has not changed since it last drew is skipped.
    """
    folder = Path(app.srcdir) / 'generated'
    folder.mkdir(exist_ok=True)
    modules = Path(app.srcdir) / 'draw'
    sys.path.insert(0, str(modules))  # where they find what they share, in names with `_`
    shared = b''.join(path.read_bytes() for path in sorted(modules.glob('_*.py')))
    for module in sorted(modules.glob('[a-z]*.py')):
        drawn = folder / f'{module.stem}.drawn'
        state = hashlib.sha256(module.read_bytes() + shared).hexdigest()
        if not drawn.exists() or drawn.read_text() != state:
            runpy.run_path(str(module))['draw'](folder)
            drawn.write_text(state)


def setup(app):
    app.connect('builder-inited', draw_pictures)
