"""What a model's file stores about the images that it was trained on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crossearth.appearance import Appearance
from crossearth.calibration import Calibration
from crossearth.errors import ConfigError

__all__ = ['FeatureStatistics', 'SourceStatistics', 'feature_distances']

_DIGITS = 6  # significant digits of each number in the file


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Mean and standard deviation of each channel of a feature map.

    Raises:
        ConfigError: If a number is not finite, or the two differ in length.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not all(map(math.isfinite, self.mean + self.std)):
            raise ConfigError(
                'feature statistics are not finite, or differ in length: measure them again with '
                'crossearth calibrate'
            )


@dataclass(frozen=True, slots=True)
class SourceStatistics:
    """Statistics of a model's source that are needed to adapt it and to judge its maps.

    Args:
        appearance: Appearance of the training images, before augmentation.
        features: The four feature maps of the backbone on these images, fine to coarse; empty for
            models without such maps.
        calibration: Confidence on labelled images that were held out from training; None if there
            were none.
    """

    appearance: Appearance
    features: tuple[FeatureStatistics, ...] = ()
    calibration: Calibration | None = None

    def to_json(self) -> dict[str, Any]:
        """The statistics as JSON values, with six significant digits per number."""
        rounded: dict[str, Any] = _rounded(asdict(self))
        return rounded

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> 'SourceStatistics':
        """The statistics that `to_json` turned into `value`.

        Raises:
            ConfigError: If a number is impossible.
        """
        calibration = value['calibration']
        return cls(
            appearance=Appearance.from_json(value['appearance']),
            features=tuple(
                FeatureStatistics(tuple(map(float, one['mean'])), tuple(map(float, one['std'])))
                for one in value['features']
            ),
            calibration=None if calibration is None else Calibration.from_json(calibration),
        )


def feature_distances(
    source: Sequence[FeatureStatistics], scenes: Sequence[FeatureStatistics]
) -> list[float]:
    """How far the features of scenes are from those of the source, for each feature map.

    The distance is the mean over a map's channels of √((μ − μₛ)² + (σ − σₛ)²) / σₛ, which is
    Fréchet's distance between two Gaussians in standard deviations of the source. Channels that are
    constant in the source are left out.

    Raises:
        ConfigError: If the two do not have the same maps and channels.

    Example:
        >>> source = FeatureStatistics((0.0, 1.0), (2.0, 0.0))
        >>> feature_distances([source], [FeatureStatistics((3.0, 9.0), (6.0, 1.0))])
        [2.5]
    """
    if [len(one.mean) for one in source] != [len(one.mean) for one in scenes]:
        raise ConfigError(
            f'the model file stores features of {[len(one.mean) for one in source]} channels, but '
            f'the model gives {[len(one.mean) for one in scenes]}: write the file again with '
            'save_model, without source, then run crossearth calibrate on it'
        )
    distances = []
    for known, seen in zip(source, scenes, strict=True):
        channels = [
            math.hypot(mean - known_mean, std - known_std) / known_std
            for known_mean, known_std, mean, std in zip(
                known.mean, known.std, seen.mean, seen.std, strict=True
            )
            if known_std > 1e-6
        ]
        distances.append(sum(channels) / max(len(channels), 1))
    return distances


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f'{value:.{_DIGITS}g}')
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
