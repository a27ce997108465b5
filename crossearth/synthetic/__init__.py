"""A synthetic Earth from a seed: georeferenced scenes of several domains, image and mask.

`SyntheticEarth` draws the scenes of an `EarthDomain`, in memory or as the files of a dataset. A
town or countryside is built on a board of surfaces and heights (`plan`, `town`, `regions`), given
reflectances (`spectra`), and rendered as a sensor would see it (`render`, `sensors`).
"""

from crossearth.synthetic.domains import EARTH_DOMAINS, EarthDomain
from crossearth.synthetic.earth import Drawing, SyntheticEarth

__all__ = ['EARTH_DOMAINS', 'Drawing', 'EarthDomain', 'SyntheticEarth']
