"""Sphinx configuration."""

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
exclude_patterns = ['_build']
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
