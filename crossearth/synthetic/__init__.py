"""A seeded Earth of made-up places: georeferenced scenes of several domains, image and mask."""

from crossearth.synthetic.domains import EARTH_DOMAINS, EarthDomain
from crossearth.synthetic.earth import Drawing, SyntheticEarth

__all__ = ['EARTH_DOMAINS', 'Drawing', 'EarthDomain', 'SyntheticEarth']
