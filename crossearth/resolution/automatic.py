"""The ground sampling distance of scenes that nothing ties to the ground, while they are mapped."""

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
    """Estimates the distance of each scene that does not say it, for `View(scene_gsd_m=…)`.

    It goes to other processes by the name of its file, which they open for themselves.

    Args:
        estimator: File of `save_gsd_estimator`, or of `crossearth gsd --fit`.

    Attributes:
        name: Checksum of the file: maps by another estimator are other maps.

    Raises:
        CheckpointError: If there is no such file.
    """

    def __init__(self, estimator: str | Path) -> None:
        self.path = str(estimator)
        try:
            self.name = hashlib.sha256(Path(estimator).read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(
                f'{estimator}: cannot be read ({error.strerror}); expected an estimator that '
                'crossearth gsd --fit wrote'
            ) from error

    def __repr__(self) -> str:
        return f'AutomaticGsd({self.path!r})'

    def __call__(self, raster: Raster) -> float:
        """Metres on the ground from one pixel of the scene to the next.

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
                f'{raster.path}: what its pixels measure on the ground cannot be estimated '
                f'({found.note}): state it (--gsd METRES), or map its own pixels (--seen-at native)'
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
def _loaded(path: str, name: str) -> GsdNetwork:  # noqa: ARG001  # another content is another file
    return load_gsd_estimator(path)
