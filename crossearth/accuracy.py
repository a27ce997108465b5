"""Estimates of how accurate a map is, made without labels from the model's own confidence.

An `AccuracyMeter` takes the averaged scores of a map strip by strip, as they are finished, and
keeps a few sums for each of about a thousand blocks of the scene. From these sums it computes three
estimates of the accuracy and of the IoU of each class, with intervals over the blocks.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crossearth.calibration import Calibration, calibrated
from crossearth.errors import ShapeError

__all__ = ['AccuracyEstimate', 'AccuracyMeter', 'EstimateBy', 'Interval']

type EstimateBy = Literal['confidence', 'atc', 'doc']

_MOST_BLOCKS = 1024
_SMALLEST_BLOCK_PX = 64
_CHUNK_PX = 1 << 15  # keeps the intermediate arrays within a few MB for six classes
_DRAWS = 400
_SHARED = 3  # sums over all classes: pixels, confidence, confidence above the threshold
_A_CLASS = 5  # per class: chosen pixels, their probability, that of the others, hits, misses


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate from 0 to 1, and how much it varies between parts of the scene.

    Args:
        value: The estimate.
        low: The 2.5th percentile over resampled blocks; None if the scene has a single block.
        high: The 97.5th percentile.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """How accurate a map is, as far as the model's confidence can tell.

    Every estimate comes in three versions. `'confidence'` trusts the calibrated probabilities.
    `'atc'` counts the pixels above the thresholds of the source (average thresholded confidence).
    `'doc'` assumes that accuracy drops as much as confidence does (difference of confidences).

    The intervals cover only the variation between parts of the scene. They do *not* cover the
    larger risk that confidence means less here than on the source. `docs/evidence.md` reports how
    wrong the estimates were across real domain gaps.

    Args:
        accuracy: Share of pixels that are right.
        iou: IoU of each class; None for a class that the calibration could not measure.
        confidence: Mean calibrated probability of the chosen class.
        source_accuracy: Accuracy measured on the source.
        source_iou: IoU of each class, measured on the source.
        pixels: Pixels of the map with data.
        blocks: Blocks with data, which are resampled for the intervals.

    Source:
        ATC: Garg et al. 2022, arXiv 2201.04234. DoC: Guillory et al. 2021, arXiv 2107.03315, with
        slope 1 rather than one fitted to other shifts.
    """

    accuracy: dict[EstimateBy, Interval]
    iou: tuple[dict[EstimateBy, Interval] | None, ...]
    confidence: float
    source_accuracy: float
    source_iou: tuple[float | None, ...]
    pixels: int
    blocks: int


class AccuracyMeter:
    """Collects block by block what a map's scores say about its accuracy.

    Args:
        calibration: Calibration of the model that makes the map.
        height: Rows of the map.
        width: Columns of the map.

    Raises:
        ShapeError: From `add`, if the scores have a different number of classes.
    """

    def __init__(self, calibration: Calibration, *, height: int, width: int) -> None:
        self._calibration = calibration
        even = math.ceil(math.sqrt(height * width / _MOST_BLOCKS))
        self.block_px = max(even, _SMALLEST_BLOCK_PX)
        rows, cols = -(-height // self.block_px), -(-width // self.block_px)
        sums = _SHARED + _A_CLASS * len(calibration.classes)
        self._sums = np.zeros((rows, cols, sums))

    def add(
        self,
        scores: Float[Tensor, 'k h w'],
        valid: Bool[np.ndarray, 'h w'],
        *,
        row0: int,
        col0: int,
        are_logits: bool,
    ) -> None:
        """Count a strip of finished pixels.

        Args:
            scores: Averaged probabilities or logits; not changed.
            valid: True where a pixel has data; others are not counted.
            row0: First row of the strip, in the map.
            col0: First column of the strip, in the map.
            are_logits: Whether scores are logits.
        """
        classes, height, width = scores.shape
        if classes != len(self._calibration.classes):
            raise ShapeError(
                f'the model gives {classes} classes, but its calibration has '
                f'{len(self._calibration.classes)}: run crossearth calibrate on it again'
            )
        side = self.block_px
        # blocks count from the corner of the scene, so the first one may begin left of the strip
        cuts = [0, *range(side - col0 % side, width, side)]
        first = col0 // side
        step = max(_CHUNK_PX // width, 1)
        row = 0
        while row < height:
            block_row, inside = divmod(row0 + row, side)
            # never across the border between two rows of blocks
            stop = min(row + step, height, row + side - inside)
            columns = self._columns(scores[:, row:stop], valid[row:stop], are_logits)
            blocks = np.add.reduceat(columns, cuts, axis=1)
            self._sums[block_row, first : first + len(cuts)] += blocks.T
            row = stop

    def _columns(
        self, scores: Float[Tensor, 'k h w'], valid: Bool[np.ndarray, 'h w'], are_logits: bool
    ) -> Float[np.ndarray, 'sums w']:
        """One row per sum, one column per column of the strip."""
        known = self._calibration
        seen = torch.from_numpy(valid).to(scores.device)
        probabilities = calibrated(scores.float(), known.temperature, are_logits=are_logits)
        confidence, chosen = probabilities.max(0)
        maps = [seen, confidence * seen, (confidence > known.threshold) & seen]
        for index, (probability, one) in enumerate(zip(probabilities, known.classes, strict=True)):
            got, other = (chosen == index) & seen, (chosen != index) & seen
            maps += [
                got,
                probability * got,
                probability * other,
                (probability > one.hit_threshold) & got,
                (probability > one.miss_threshold) & other,
            ]
        return np.stack([part.sum(0, dtype=torch.float64).cpu().numpy() for part in maps])

    def estimate(self, *, seed: int = 0) -> AccuracyEstimate | None:
        """The estimates so far; None if no pixel had data.

        Args:
            seed: Seed of the block resampling for the intervals.
        """
        blocks = self._sums.reshape(-1, self._sums.shape[-1])
        blocks = blocks[blocks[:, 0] > 0]
        if not len(blocks):
            return None
        rng = np.random.default_rng(seed)
        # a bootstrap over blocks, because neighbouring pixels err together
        often = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), _DRAWS)
        whole, drawn = blocks.sum(0), often @ blocks
        several = len(blocks) > 1

        def intervals(index: int | None) -> dict[EstimateBy, Interval]:
            values, spread = self._estimates(whole[None], index), self._estimates(drawn, index)
            made: dict[EstimateBy, Interval] = {}
            for name, value in values.items():
                low, high = map(float, np.quantile(spread[name], (0.025, 0.975)))
                made[name] = Interval(
                    float(value[0]), low if several else None, high if several else None
                )
            return made

        known = self._calibration
        return AccuracyEstimate(
            accuracy=intervals(None),
            iou=tuple(
                None if one.iou is None else intervals(index)
                for index, one in enumerate(known.classes)
            ),
            confidence=float(whole[1] / whole[0]),
            source_accuracy=known.accuracy,
            source_iou=tuple(one.iou for one in known.classes),
            pixels=int(whole[0]),
            blocks=len(blocks),
        )

    def _estimates(
        self, sums: Float[np.ndarray, 'n sums'], index: int | None
    ) -> dict[EstimateBy, Float[np.ndarray, ' n']]:
        """Accuracy (index None) or the IoU of one class, from each row of sums."""
        known = self._calibration
        if index is None:
            pixels, confidence, above = sums.T[:_SHARED]
            expected, source, source_expected = (
                confidence / pixels,
                known.accuracy,
                known.confidence,
            )
            atc = above / pixels
        else:
            one = known.classes[index]
            start = _SHARED + _A_CLASS * index
            chosen, believed, elsewhere, hits, misses = sums.T[start : start + _A_CLASS]
            expected, atc = (
                _ratio(believed, chosen + elsewhere),
                _ratio(hits, chosen + misses),
            )
            source, source_expected = one.iou or 0.0, one.expected_iou
        # accuracy is assumed to drop by as much as confidence does
        doc = np.clip(source - (source_expected - expected), 0, 1)
        return {'confidence': expected, 'atc': atc, 'doc': doc}


def _ratio(
    part: Float[np.ndarray, ' n'], whole: Float[np.ndarray, ' n']
) -> Float[np.ndarray, ' n']:
    ratio: Float[np.ndarray, ' n'] = np.zeros_like(part)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
