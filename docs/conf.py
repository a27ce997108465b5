"""Sphinx configuration."""

import hashlib
import os
import runpy
import sys
from pathlib import Path

import crossearth

sys.path.insert(0, str(Path(__file__).parent / 'extensions'))

project = 'crossearth'
author = 'the crossearth authors'
copyright = '2026, the crossearth authors'
version = release = crossearth.__version__

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.intersphinx',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_gallery.gen_gallery',
    'sphinx_codeautolink',
    'notfound.extension',
    'reference',
    'name_links',
]
exclude_patterns = ['_build', 'generated', 'draw', 'extensions']
default_role = 'code'

myst_enable_extensions = ['deflist', 'dollarmath']
myst_heading_anchors = 3

autodoc_typehints = 'signature'
autodoc_typehints_format = 'short'
autodoc_member_order = 'bysource'
autodoc_default_options = {'members': True, 'show-inheritance': True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [('Source', 'notes_style')]

sphinx_gallery_conf = {
    'examples_dirs': '../examples',
    'gallery_dirs': 'gallery',
    # CROSSEARTH_GALLERY=0 builds the pages without running the examples
    'plot_gallery': os.environ.get('CROSSEARTH_GALLERY', '1') != '0',
    'image_scrapers': ('matplotlib', 'gallery_pages.take_figures'),
    'reset_modules': ('matplotlib', 'gallery_pages.quiet'),
    'abort_on_example_error': True,
    'within_subsection_order': 'gallery_pages.ReadingOrder',
    'min_reported_time': 3600,
    'show_signature': False,
}

# sphinx-gallery links the names in its examples before codeautolink looks for them.
suppress_warnings = ['codeautolink.match_name']

# Links to other projects need their lists of names, which are fetched from their sites. Read the
# Docs may fetch them. Elsewhere nothing is fetched, so that a build without a network is the same
# as one with it and has no warnings; these names then stay plain text.
intersphinx_mapping = (
    {
        'python': ('https://docs.python.org/3', None),
        'numpy': ('https://numpy.org/doc/stable', None),
        'torch': ('https://docs.pytorch.org/docs/stable', None),
        'lightning': ('https://lightning.ai/docs/pytorch/stable', None),
        'kornia': ('https://kornia.readthedocs.io/en/latest', None),
        'rasterio': ('https://rasterio.readthedocs.io/en/stable', None),
        'torchgeo': ('https://torchgeo.readthedocs.io/en/stable', None),
    }
    if os.environ.get('READTHEDOCS') == 'True'
    else {}
)

codeautolink_concat_default = True  # the blocks of a page are one program
codeautolink_warn_on_missing_inventory = False

html_theme = 'pydata_sphinx_theme'
html_title = 'crossearth'
html_static_path = ['_static']
html_css_files = ['site.css']
html_theme_options = {
    'header_links_before_dropdown': 6,  # every section stands in the header
    'navigation_with_keys': False,
    'navigation_depth': 1,  # pages of this section, not every name of the reference
    'show_toc_level': 2,
    'secondary_sidebar_items': {'**': ['page-toc'], 'index': []},
}
html_sidebars = {'index': [], '404': [], 'search': []}


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
