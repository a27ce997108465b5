"""The ground sampling distance of scenes that do not say it, from what their pixels show.

Blocks of a scene (`blocks`) are seen at several sizes (`views`). A frozen encoder with a linear
head (`network`) says how far apart the pixels of each are; `fitting` learns the head, without
labels, from images whose distance is known; `estimate` makes one answer with an interval of it.
"""

from crossearth.resolution.automatic import AutomaticGsd
from crossearth.resolution.estimate import GsdEstimate, estimate_gsd
from crossearth.resolution.fitting import FitReport, KnownScene, fit_gsd_estimator
from crossearth.resolution.network import (
    GsdNetwork,
    gsd_network,
    load_gsd_estimator,
    save_gsd_estimator,
)

__all__ = [
    'AutomaticGsd',
    'FitReport',
    'GsdEstimate',
    'GsdNetwork',
    'KnownScene',
    'estimate_gsd',
    'fit_gsd_estimator',
    'gsd_network',
    'load_gsd_estimator',
    'save_gsd_estimator',
]
