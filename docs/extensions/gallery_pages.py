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

__all__ = ['ReadingOrder', 'quiet', 'take_figures']

_ORDER = ('first_map', 'roads_to_gis', 'style_injection', 'degrees_and_gsd')

_taken: list[Figure] = []  # kept, since a figure that is gone may leave its id to the next


class ReadingOrder:
    """Where a page stands in the gallery: the first steps, then maps, then parts of your own."""

    def __init__(self, src_dir: str) -> None:
        del src_dir  # sphinx-gallery passes it

    def __call__(self, filename: str) -> tuple[bool, int, str]:
        name = Path(filename).stem.removeprefix('plot_')
        return name.startswith('own_'), _ORDER.index(name) if name in _ORDER else len(_ORDER), name


def take_figures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Write the figures that a block has made without pyplot; those of pyplot are taken already."""
    paths = []
    for value in list(block_vars['example_globals'].values()):
        if (
            isinstance(value, Figure)
            and not hasattr(value, 'number')
            and not any(value is one for one in _taken)
        ):
            _taken.append(value)
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
