"""Renders the page of a report: one HTML file that loads nothing else.

Names from files must never run as code. Three things ensure that. Jinja2 escapes everything that
the template prints. Pictures are `<img>` elements, in which an SVG runs no scripts. The policy in
the head of the page allows only the script whose hash it contains.
"""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import UInt8
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from crossearth.labels import LabelSpace
from crossearth.reports.data import Confusion, ReportData
from crossearth.reports.examples import DomainPictures, Missing
from crossearth.reports.figures import Drawn
from crossearth.reports.table import Table, table_csv, table_latex
from crossearth.reports.tables import Group
from crossearth.visualization import ExampleWindow, error_map, on_dark, row_shares

__all__ = ['Section', 'ShownFigure', 'render_page']

_TEMPLATE = 'report.html.jinja'
_WEBP_QUALITY = 82
_THUMBNAIL_PX = 384  # longer side of an example


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFigure:
    """A figure and its files.

    Args:
        drawn: The figure.
        svg: For the page; None if the page shows the same in another way.
        pdf: For papers.
        png: For slides.
    """

    drawn: Drawn
    svg: bytes | None
    pdf: bytes
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A group of results, with everything that is shown of it.

    Args:
        group: The tables.
        charts: Radar and intervals.
        confusions: Domain → its matrices and their figure.
    """

    group: Group
    charts: Sequence[ShownFigure]
    confusions: Mapping[str, tuple[Sequence[Confusion], ShownFigure]]


def render_page(
    data: ReportData,
    sections: Sequence[Section],
    costs: Table,
    pictures: Sequence[DomainPictures | Missing],
    examples: Mapping[str, ShownFigure],
    *,
    title: str,
    written: str,
) -> str:
    """Render the page as HTML.

    Args:
        data: The numbers.
        sections: Groups of results.
        costs: Seconds, memory and parameters.
        pictures: The pictures of each domain, or why there are none.
        examples: Domain → the figure of its examples.
        title: Heading.
        written: When and by what the page was written.
    """
    folder = files('crossearth.reports').joinpath('templates')
    script = folder.joinpath('report.js').read_text(encoding='utf-8')
    environment = Environment(
        loader=PackageLoader('crossearth.reports'),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        'csv_uri': lambda table: _uri(table_csv(table).encode(), 'text/csv'),
        'latex_uri': lambda table: _uri(table_latex(table).encode(), 'application/x-tex'),
        'svg_uri': lambda svg: _uri(svg, 'image/svg+xml'),
        'dark_svg_uri': lambda svg: _uri(on_dark(svg), 'image/svg+xml'),
        'pdf_uri': lambda pdf: _uri(pdf, 'application/pdf'),
        'png_uri': lambda png: _uri(png, 'image/png'),
        'yaml_uri': lambda text: _uri(text.encode(), 'application/yaml'),
        'photo_uri': _photo,
        'map_uri': _map,
        'errors_uri': _errors,
        'shares': lambda one: row_shares(one.counts),
        'hex': lambda colour: '#{:02x}{:02x}{:02x}'.format(*colour),
    }
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    values: dict[str, Any] = {
        'data': data,
        'sections': sections,
        'costs': costs,
        'pictures': [one for one in pictures if isinstance(one, DomainPictures)],
        'missing': [one for one in pictures if isinstance(one, Missing)],
        'examples': examples,
        'title': title,
        'written': written,
        'style': folder.joinpath('report.css').read_text(encoding='utf-8'),
        'script': script,
        'script_hash': f'sha256-{digest}',
    }
    return environment.get_template(_TEMPLATE).render(values)


def _uri(content: bytes, kind: str) -> str:
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'


def _photo(pixels: UInt8[np.ndarray, 'h w 3'], most_px: int = _THUMBNAIL_PX) -> str:
    """A photograph, shrunk if it is large."""
    image = Image.fromarray(pixels)
    image.thumbnail((most_px, most_px), Image.Resampling.BOX)
    stream = io.BytesIO()
    image.save(stream, 'WEBP', quality=_WEBP_QUALITY)
    return _uri(stream.getvalue(), 'image/webp')


def _map(ids: UInt8[np.ndarray, 'h w'], labels: LabelSpace, most_px: int = _THUMBNAIL_PX) -> str:
    """A lossless label map, in the colours of its classes."""
    height, width = ids.shape
    factor = min(most_px / max(height, width), 1.0)
    image = Image.fromarray(labels.colour(ids))
    if factor < 1:
        size = max(round(width * factor), 1), max(round(height * factor), 1)
        image = image.resize(size, Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, 'WEBP', lossless=True)
    return _uri(stream.getvalue(), 'image/webp')


def _errors(window: ExampleWindow, method: str) -> str:
    return _photo(error_map(window.image, window.truth, window.maps[method]))
