"""Draws samples, maps, features and scores, in the style of a paper.

Each `draw_…` function takes arrays or numbers and returns a matplotlib figure, without a display.
`save_figure` writes a figure as PNG, and `render_figure` as PDF, PNG or SVG with embedded fonts.
"""

from crossearth.panels import draw_panels, save_figure
from crossearth.visualization.confusion import draw_confusions, row_shares
from crossearth.visualization.examples import ExampleWindow, draw_examples, error_map
from crossearth.visualization.features import (
    FeaturePoints,
    draw_feature_maps,
    draw_features,
    project_features,
    sample_features,
)
from crossearth.visualization.scores import draw_grid, draw_intervals, draw_radar
from crossearth.visualization.style import PALETTE, on_dark, paper_style, render_figure

__all__ = [
    'PALETTE',
    'ExampleWindow',
    'FeaturePoints',
    'draw_confusions',
    'draw_examples',
    'draw_feature_maps',
    'draw_features',
    'draw_grid',
    'draw_intervals',
    'draw_panels',
    'draw_radar',
    'error_map',
    'on_dark',
    'paper_style',
    'project_features',
    'render_figure',
    'row_shares',
    'sample_features',
    'save_figure',
]
