"""How the pages of the gallery are made from `examples/`: its figures, and what is kept quiet.

sphinx-gallery finds these functions by their names, `gallery_pages.…` in `conf.py`.
"""

import logging
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

__all__ = ['quiet', 'take_figures']

_taken: set[int] = set()


def take_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Write the figures that a block has made without pyplot; those of pyplot are taken already."""
    paths = []
    for value in list(block_vars['example_globals'].values()):
        if isinstance(value, Figure) and not hasattr(value, 'number') and id(value) not in _taken:
            _taken.add(id(value))
            path = next(block_vars['image_path_iterator'])
            value.savefig(path, dpi=130)
            paths.append(path)
    return figure_rst(paths, gallery_conf['src_dir'])


def quiet(gallery_conf: dict[str, Any], fname: str) -> None:
    """Before each page: nothing of the page before, and no notices about short training runs."""
    _taken.clear()
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore', module='lightning')
    warnings.filterwarnings('ignore', message='.*LeafSpec')
    work = Path(gallery_conf['src_dir'], 'generated', 'gallery')
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    tempfile.tempdir = str(work)
