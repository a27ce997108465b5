"""Estimates the ground sampling distance of scenes without a georeference, from their pixels.

Blocks of a scene (`blocks`) are seen at several sizes (`views`). A frozen encoder with a linear
head (`network`) estimates the pixel size of each view. `fitting` trains the head, without labels,
on images of known pixel size. `estimate` combines the views into one answer with an interval.
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
