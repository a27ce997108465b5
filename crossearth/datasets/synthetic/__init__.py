"""A seeded Earth of made-up places: georeferenced scenes of several domains, image and mask."""

from crossearth.datasets.synthetic.domains import EARTH_DOMAINS, EarthDomain
from crossearth.datasets.synthetic.earth import SyntheticEarth, SyntheticScene

__all__ = ['EARTH_DOMAINS', 'EarthDomain', 'SyntheticEarth', 'SyntheticScene']
