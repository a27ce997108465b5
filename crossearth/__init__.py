"""Segment remote-sensing images where no label was ever drawn."""

__version__ = '0.1.0'

__all__ = ['__version__']
