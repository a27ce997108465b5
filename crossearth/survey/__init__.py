"""A look through somebody's images and labels, and the recipe that follows from it."""

from crossearth.survey.run import Domain, start

__all__ = ['Domain', 'start']
