"""What a model was trained on, carried from its training into its file and from there into maps."""

import math
from dataclasses import dataclass

from crossearth.errors import ConfigError
from crossearth.labels import LabelSpace
from crossearth.source_statistics import SourceStatistics

__all__ = ['Imagery', 'imagery_of']

_SQUARE = 1.05  # ratio of the sides of pixels that count as square on the ground


@dataclass(frozen=True, slots=True)
class Imagery:
    """The images that a model knows, and what it makes of them.

    Args:
        labels: Classes of the logits; None if they are not known.
        bands: Names of the bands, or their numbers counted from 1, in the order in which the model
            takes them; None if not known.
        value_range: Values that became 0 and 1; None for the range of the data type.
        gsd_m: Ground sampling distance that scenes are mapped at, in metres; None if not known.
        gsd_range_m: Finest and coarsest ground sampling distance, in metres, of a model that was
            trained across several; None for others.
        source: What is remembered of the training images, and of the model's confidence on them;
            None if nothing is.

    Raises:
        ConfigError: If a distance is not finite and positive, or `gsd_m` is outside of the range.
    """

    labels: LabelSpace | None = None
    bands: tuple[str, ...] | tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None
    gsd_m: float | None = None
    gsd_range_m: tuple[float, float] | None = None
    source: SourceStatistics | None = None

    def __post_init__(self) -> None:
        given = [g for g in (self.gsd_m, *(self.gsd_range_m or ())) if g is not None]
        low, high = self.gsd_range_m or (0, math.inf)
        if not all(math.isfinite(gsd) and gsd > 0 for gsd in given):
            raise ConfigError(
                f'gsd_m is {self.gsd_m} and gsd_range_m {self.gsd_range_m}: expected finite '
                'metres, more than 0'
            )
        if not low <= (low if self.gsd_m is None else self.gsd_m) <= high:
            raise ConfigError(
                f'gsd_m is {self.gsd_m} and gsd_range_m {self.gsd_range_m}: expected the finest '
                'first, and gsd_m between the two'
            )

    def gsd_for(self, own_m: tuple[float, float] | None) -> float | None:
        """The ground sampling distance to see a scene at.

        Args:
            own_m: That of the scene, along columns and rows; None if it is not known.

        Returns:
            Metres; None for the scene's own pixels: where the model's distance is not known, or
            the scene's lies in the range that the model was trained across, and its pixels are
            square to 5 %. Outside of a range, its nearer end.

        Raises:
            ConfigError: If the model's distance is known and the scene's is not.

        Example:
            >>> Imagery(gsd_m=1.0).gsd_for((0.21, 0.21))
            1.0
            >>> across = Imagery(gsd_range_m=(0.3, 1.2))
            >>> across.gsd_for((0.5, 0.5)), across.gsd_for((3.0, 3.0))
            (None, 1.2)
        """
        if self.gsd_m is None and self.gsd_range_m is None:
            return None
        if own_m is None:
            known = self.gsd_m if self.gsd_range_m is None else self.gsd_range_m
            raise ConfigError(
                f'the model was trained at {known} m per pixel, and nothing ties the scene to the '
                'ground: say what its pixels measure there with View(scene_gsd_m=0.21) '
                "(--gsd 0.21), georeference it, or pass View(gsd_m='native') (--seen-at native) to "
                'map its own pixels'
            )
        if self.gsd_range_m is None:
            return self.gsd_m
        low, high = self.gsd_range_m
        own = math.sqrt(own_m[0] * own_m[1])
        square = 1 / _SQUARE < own_m[0] / own_m[1] < _SQUARE
        return None if square and low <= own <= high else min(max(own, low), high)


def imagery_of(model: object) -> Imagery:
    """What a model says it was trained on: those that `load_model` gives do; nothing for others."""
    said = getattr(model, 'imagery', None)
    return said if isinstance(said, Imagery) else Imagery()
