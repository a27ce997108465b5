"""How far a model's confidence can be trusted, measured once on labelled images of its source.

The result, a `Calibration`, is saved in the model's file. It lets the confidence of a map estimate
how accurate the map would be if the scene resembled the source. See `crossearth.accuracy`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from crossearth.errors import ConfigError, LabelError, ShapeError
from crossearth.labels import IGNORE_INDEX

__all__ = [
    'Calibration',
    'CalibrationMeter',
    'ClassCalibration',
    'calibrated',
    'expected_iou',
    'fit_temperature',
]

_PIXELS_A_WINDOW = 4096
_LOG_TEMPERATURES = (math.log(0.05), math.log(20.0))
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class ClassCalibration:
    """One class, measured on labelled images of the source.

    Args:
        iou: Intersection over union; None where the class neither occurs nor is predicted, so that
            nothing can be measured.
        expected_iou: The IoU that the calibrated probabilities predict, see `expected_iou`.
        hit_threshold: Among pixels predicted as the class, as many have a larger probability of it
            as are predicted correctly.
        miss_threshold: Among pixels predicted as another class, as many have a larger probability
            of this one as belong to it.
    """

    iou: float | None
    expected_iou: float
    hit_threshold: float
    miss_threshold: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A model's confidence, measured on labelled images of the source.

    Args:
        temperature: Divides the logits, so that mean confidence equals the share of correct pixels.
        accuracy: Share of correct pixels, from 0 to 1.
        confidence: Mean probability of the chosen class, after the temperature.
        threshold: As many pixels have a larger confidence as are correct.
        classes: One entry per class of the model.
        pixels: Number of pixels measured.

    Raises:
        ConfigError: If a number is not finite or out of its range.

    Source:
        Temperature: Guo et al. 2017, arXiv 1706.04599. Threshold (ATC): Garg et al. 2022, arXiv
        2201.04234. The two thresholds per class are this library's: they apply the same idea to the
        pixels that were predicted as the class, and to those predicted as another one.
    """

    temperature: float
    accuracy: float
    confidence: float
    threshold: float
    classes: tuple[ClassCalibration, ...]
    pixels: int

    def __post_init__(self) -> None:
        shares = [self.accuracy, self.confidence, self.threshold]
        for one in self.classes:
            shares += [one.expected_iou, one.hit_threshold, one.miss_threshold]
            shares += [] if one.iou is None else [one.iou]
        if not all(0 <= share <= 1 for share in shares):  # also refuses NaN
            raise ConfigError(
                'a calibration holds shares outside 0 to 1: run crossearth calibrate again'
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f'temperature is {self.temperature}: expected a number above 0')
        if not self.classes or self.pixels < 1:
            raise ConfigError(
                'a calibration has no classes or no pixels: run crossearth calibrate again'
            )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> 'Calibration':
        """The calibration that `dataclasses.asdict` and JSON turned into `value`."""
        classes = tuple(
            ClassCalibration(
                iou=None if one['iou'] is None else float(one['iou']),
                expected_iou=float(one['expected_iou']),
                hit_threshold=float(one['hit_threshold']),
                miss_threshold=float(one['miss_threshold']),
            )
            for one in value['classes']
        )
        return cls(
            temperature=float(value['temperature']),
            accuracy=float(value['accuracy']),
            confidence=float(value['confidence']),
            threshold=float(value['threshold']),
            classes=classes,
            pixels=int(value['pixels']),
        )


class CalibrationMeter:
    """Collects up to 4,096 pixels of each labelled window, and calibrates a model with them.

    Args:
        seed: Seed of the choice of pixels.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self._draws = torch.Generator().manual_seed(seed)
        self._logits: list[Float[Tensor, 'n k']] = []
        self._labels: list[Int64[Tensor, ' n']] = []

    def add(self, logits: Float[Tensor, 'k h w'], mask: Int64[Tensor, 'mask_h mask_w']) -> None:
        """Add some pixels of a window, without those that the mask ignores.

        Raises:
            ShapeError: If the two differ in size.
            LabelError: If the mask holds a class that the logits do not have.
        """
        if logits.shape[1:] != mask.shape:
            raise ShapeError(
                f'logits are {tuple(logits.shape)}, but the mask is {tuple(mask.shape)}: expected '
                'the same height and width'
            )
        mask = mask.cpu()
        kept = (mask != IGNORE_INDEX).flatten().nonzero()[:, 0]
        if len(kept) > _PIXELS_A_WINDOW:
            kept = kept[torch.randperm(len(kept), generator=self._draws)[:_PIXELS_A_WINDOW]]
        labels = mask.flatten()[kept]
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[0]:
            raise LabelError(
                f'the mask holds ids from {int(labels.min())} to {int(labels.max())}, but the '
                f'model has {logits.shape[0]} classes: expected 0 to {logits.shape[0] - 1}, or '
                f'{IGNORE_INDEX} to ignore a pixel'
            )
        self._logits.append(logits.flatten(1).T.cpu()[kept].float())
        self._labels.append(labels)

    def calibration(self) -> Calibration | None:
        """The calibration so far; None if no labelled pixel was seen."""
        labels = torch.cat(self._labels) if self._labels else torch.empty(0)
        if not len(labels):
            return None
        logits = torch.cat(self._logits)
        temperature = fit_temperature(logits, labels)
        probabilities = calibrated(logits.T, temperature, are_logits=True)
        confidence, chosen = probabilities.max(0)
        right = chosen == labels
        return Calibration(
            temperature=temperature,
            accuracy=float(right.double().mean()),
            confidence=float(confidence.double().mean()),
            threshold=_threshold(confidence, int(right.sum())),
            classes=tuple(
                _of_class(probabilities[index], chosen == index, labels == index)
                for index in range(len(probabilities))
            ),
            pixels=len(labels),
        )


def calibrated(
    scores: Float[Tensor, 'k *shape'], temperature: float, *, are_logits: bool
) -> Float[Tensor, 'k *shape']:
    """Probabilities after the temperature, from logits or from probabilities at temperature 1.

    Example:
        >>> calibrated(torch.tensor([0.8, 0.2]), 2.0, are_logits=False)
        tensor([0.6667, 0.3333])
    """
    # probability 0 has no finite logarithm
    logits = scores if are_logits else scores.clamp(min=torch.finfo(scores.dtype).tiny).log()
    return (logits / temperature).softmax(0)


def expected_iou(probability: Float[Tensor, '*shape'], chosen: Tensor) -> float:
    """The IoU that probabilities predict for a class.

    Where the class was chosen, its probability is the expected share of hits. Elsewhere, it is the
    expected share of misses. The ratio of the two expectations approximates the expected ratio.

    Args:
        probability: Probability of the class, in [0, 1].
        chosen: True where the class was chosen.

    Returns:
        Expected intersection over expected union; 0 where both are empty.

    Example:
        >>> expected_iou(torch.tensor([0.75, 0.25]), torch.tensor([True, False]))
        0.6
    """
    hit = float(probability[chosen].double().sum())
    union = int(chosen.sum()) + float(probability[~chosen].double().sum())
    return hit / union if union else 0.0


def fit_temperature(logits: Float[Tensor, 'n k'], labels: Int64[Tensor, ' n']) -> float:
    """The temperature, from 0.05 to 20, with the lowest negative log likelihood.

    Example:
        >>> draws = torch.Generator().manual_seed(0)
        >>> logits = torch.randn(20000, 3, generator=draws)
        >>> labels = torch.multinomial(logits.softmax(1), 1, generator=draws)[:, 0]
        >>> round(fit_temperature(logits * 4, labels), 1)
        4.0
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(torch.nn.functional.cross_entropy(scaled, labels))

    low, high = _LOG_TEMPERATURES  # golden section: the loss has one minimum
    while high - low > 1e-3:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if loss(left) < loss(right):
            high = right
        else:
            low = left
    return math.exp((low + high) / 2)


def _of_class(probability: Float[Tensor, ' n'], chosen: Tensor, true: Tensor) -> ClassCalibration:
    hits, union = int((chosen & true).sum()), int((chosen | true).sum())
    return ClassCalibration(
        iou=hits / union if union else None,
        expected_iou=expected_iou(probability, chosen),
        hit_threshold=_threshold(probability[chosen], hits),
        miss_threshold=_threshold(probability[~chosen], int((true & ~chosen).sum())),
    )


def _threshold(values: Float[Tensor, ' n'], above: int) -> float:
    """A number that `above` of the values exceed, as closely as ties allow."""
    if above >= len(values):
        return 0.0
    return float(values.sort(descending=True).values[above])
