"""Pictures of samples and maps."""

from crossearth.panels import draw_panels, save_figure

__all__ = ['draw_panels', 'save_figure']
