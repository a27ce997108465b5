"""Segment remote-sensing images in places, bands, sensors and climates that no label was drawn for."""

__version__ = '0.1.0'

__all__ = ['__version__']
