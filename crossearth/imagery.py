"""What a model was trained on. Training saves it in the model's file, and mapping reads it."""

import math
from dataclasses import dataclass

from crossearth.errors import ConfigError
from crossearth.geometry import SAME_SIZE
from crossearth.labels import LabelSpace
from crossearth.source_statistics import SourceStatistics

__all__ = ['Imagery', 'imagery_of']

_SQUARE = 1.05  # largest ratio of sides at which a pixel counts as square on the ground


@dataclass(frozen=True, slots=True)
class Imagery:
    """The images that a model was trained on, and the classes that it predicts.

    Args:
        labels: Classes of the logits; None if unknown.
        bands: Band names, or band numbers from 1, in the order that the model takes; None if
            unknown.
        value_range: Values that became 0 and 1; None for the range of the data type.
        gsd_m: Ground sampling distance at which scenes are mapped, in metres; None if unknown.
        gsd_range_m: Finest and coarsest ground sampling distance, in metres, of a model trained
            across a range; None for other models.
        source: Statistics of the training images and of the model's confidence on them; None if
            none were saved.

    Raises:
        ConfigError: If a distance is not finite and positive, `gsd_m` is outside the range, or
            `value_range` is not a lower and a higher finite value.
    """

    labels: LabelSpace | None = None
    bands: tuple[str, ...] | tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None
    gsd_m: float | None = None
    gsd_range_m: tuple[float, float] | None = None
    source: SourceStatistics | None = None

    def __post_init__(self) -> None:
        given = [g for g in (self.gsd_m, *(self.gsd_range_m or ())) if g is not None]
        values = (0.0, 1.0) if self.value_range is None else tuple(self.value_range)
        if len(values) != 2 or not -math.inf < values[0] < values[1] < math.inf:
            raise ConfigError(
                f'value_range is {self.value_range}: expected two finite numbers, the lower first'
            )
        low, high = self.gsd_range_m or (0, math.inf)
        if not all(math.isfinite(gsd) and gsd > 0 for gsd in given):
            raise ConfigError(
                f'gsd_m is {self.gsd_m} and gsd_range_m is {self.gsd_range_m}: expected finite '
                'metres above 0'
            )
        if not low <= (low if self.gsd_m is None else self.gsd_m) <= high:
            raise ConfigError(
                f'gsd_m is {self.gsd_m} and gsd_range_m is {self.gsd_range_m}: expected the finest '
                'first, and gsd_m within the range'
            )

    @property
    def middle_gsd_m(self) -> float | None:
        """The distance that the model knows best, in metres; None if unknown.

        It is `gsd_m` or, if that was not recorded, the middle of the range in octaves.
        """
        if self.gsd_m is None and self.gsd_range_m is not None:
            return math.sqrt(self.gsd_range_m[0] * self.gsd_range_m[1])
        return self.gsd_m

    def gsd_for(self, own_m: tuple[float, float] | None) -> float | None:
        """The ground sampling distance at which to see a scene.

        Args:
            own_m: Ground sampling distance of the scene, along columns and rows; None if unknown.

        Returns:
            Metres, or None to use the scene's own pixels. None is returned if the model's distance
            is unknown, or if the scene's distance lies within the range that the model was trained
            on, to 2 %, and its pixels are square to 5 %. Outside that range, `middle_gsd_m` is
            returned.

        Raises:
            ConfigError: If the model's distance is known and the scene's is not.

        Example:
            >>> Imagery(gsd_m=1.0).gsd_for((0.21, 0.21))
            1.0
            >>> across = Imagery(gsd_range_m=(0.3, 1.2))
            >>> across.gsd_for((0.5, 0.5)), across.gsd_for((3.0, 3.0))
            (None, 0.6)
        """
        if self.middle_gsd_m is None:
            return None
        if own_m is None:
            sizes = ' to '.join(f'{size:.3g}' for size in self.gsd_range_m or (self.gsd_m,))
            raise ConfigError(
                f'the model was trained at {sizes} m per pixel, but nothing says how large the '
                "scene's pixels are: pass their size with View(scene_gsd_m=0.21) (--gsd 0.21), "
                "georeference the scene, or pass View(gsd_m='native') (--seen-at native) to map "
                'its own pixels'
            )
        own = math.sqrt(own_m[0] * own_m[1])
        if self.gsd_range_m is None:
            return self.gsd_m
        low, high = self.gsd_range_m
        if not low * (1 - SAME_SIZE) <= own <= high * (1 + SAME_SIZE):
            return self.middle_gsd_m
        square = 1 / _SQUARE < own_m[0] / own_m[1] < _SQUARE
        return None if square else own


def imagery_of(model: object) -> Imagery:
    """What a model was trained on; an empty `Imagery` unless the model came from `load_model`."""
    said = getattr(model, 'imagery', None)
    return said if isinstance(said, Imagery) else Imagery()
