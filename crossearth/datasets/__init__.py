"""Scenes on disk → windows → samples."""

from crossearth.datasets.synthetic import (
    EARTH_DOMAINS,
    EarthDomain,
    SyntheticEarth,
    SyntheticScene,
)

__all__ = ['EARTH_DOMAINS', 'EarthDomain', 'SyntheticEarth', 'SyntheticScene']
