"""Sphinx configuration."""

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
exclude_patterns = ['_build', 'generated']
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
    """Pictures of the pages, drawn anew: none is kept in the repository."""
    from crossearth.labels import ISPRS
    from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
    from crossearth.visualization import draw_panels, save_figure

    folder = Path(app.srcdir) / 'generated'
    folder.mkdir(exist_ok=True)
    earth = SyntheticEarth(seed=0)
    for name in ('source', 'region_climate', 'region_band'):
        scene = earth.draw(EARTH_DOMAINS[name], index=1, height=384, width=512)
        title = f'Synthetic scene of the domain {name}'
        figure = draw_panels(scene.image, {'classes': scene.mask}, ISPRS, title=title)
        save_figure(figure, folder / f'{name}.png')


def setup(app):
    app.connect('builder-inited', draw_pictures)
