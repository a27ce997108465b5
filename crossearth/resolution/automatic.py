"""Estimates the pixel size of scenes without a georeference while they are mapped."""

import functools
import hashlib
from pathlib import Path

from crossearth.errors import CheckpointError
from crossearth.rasters import Raster
from crossearth.resolution.estimate import GsdEstimate, estimate_gsd
from crossearth.resolution.network import GsdNetwork, load_gsd_estimator

__all__ = ['AutomaticGsd']


class AutomaticGsd:
    """Estimates the pixel size of each scene without one, for `View(scene_gsd_m=…)`.

    It is sent to other processes as a file name, and each process opens the file itself.

    Args:
        estimator: File from `save_gsd_estimator`, or from `crossearth gsd --fit`.

    Attributes:
        name: Checksum of the file. Maps made with another estimator count as different.

    Raises:
        CheckpointError: If the file does not exist.
    """

    def __init__(self, estimator: str | Path) -> None:
        self.path = str(estimator)
        try:
            self.name = hashlib.sha256(Path(estimator).read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(
                f'{estimator} cannot be read ({error.strerror}): expected an estimator written by '
                'crossearth gsd --fit'
            ) from error

    def __repr__(self) -> str:
        return f'AutomaticGsd({self.path!r})'

    def __call__(self, raster: Raster) -> GsdEstimate:
        """Estimate the metres on the ground per pixel of the scene."""
        return estimate_gsd(
            _loaded(self.path, self.name),
            raster.path,
            bands=raster.bands,
            value_range=raster.value_range,
        )


@functools.lru_cache(maxsize=1)
def _loaded(path: str, name: str) -> GsdNetwork:  # noqa: ARG001  # the checksum is a cache key
    return load_gsd_estimator(path)
