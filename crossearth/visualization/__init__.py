"""Pictures of samples, maps and scores."""

from crossearth.panels import draw_panels, save_figure
from crossearth.visualization.scores import draw_grid, draw_radar

__all__ = ['draw_grid', 'draw_panels', 'draw_radar', 'save_figure']
