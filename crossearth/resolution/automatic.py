"""Estimates the pixel size of scenes without a georeference while they are mapped."""

import functools
import hashlib
import logging
from pathlib import Path

from crossearth.errors import CheckpointError, ConfigError
from crossearth.rasters import Raster
from crossearth.resolution.estimate import estimate_gsd
from crossearth.resolution.network import GsdNetwork, load_gsd_estimator

__all__ = ['AutomaticGsd']

_LOG = logging.getLogger(__name__)


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

    def __call__(self, raster: Raster) -> float:
        """Metres on the ground per pixel of the scene.

        Raises:
            ConfigError: If its pixels do not tell.
        """
        found = estimate_gsd(
            _loaded(self.path, self.name),
            raster.path,
            bands=raster.bands,
            value_range=raster.value_range,
        )
        if found.gsd_m is None:
            raise ConfigError(
                f'{raster.path}: its pixel size cannot be estimated '
                f'({found.note}): pass it (--gsd METRES), or map its own pixels (--seen-at native)'
            )
        _LOG.info(
            '%s: pixels of about %.3g m, probably %.3g to %.3g m, estimated from %d parts%s',
            raster.path,
            found.gsd_m,
            found.low_m,
            found.high_m,
            found.windows,
            f'; {found.note}' if found.note else '',
        )
        return found.gsd_m


@functools.lru_cache(maxsize=1)
def _loaded(path: str, name: str) -> GsdNetwork:  # noqa: ARG001  # the checksum is a cache key
    return load_gsd_estimator(path)
