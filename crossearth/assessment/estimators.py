"""Estimates accuracy and area from a stratified random sample: the mathematics, without files.

Every quantity here is a ratio of two areas, `Y / X`. The overall accuracy is the correct area over
the whole area. The user's accuracy of a class is its correct area over its mapped area, and so on.
Both areas are estimated by adding up the sample, where each unit counts with the area that it
represents. The variance is that of the linearised ratio (the delta method). If all pixels have one
size, these are the estimators of Stehman (2014). If in addition the strata are the map's classes,
they are those of Olofsson et al. (2014).

Pixels of maps in degrees differ in size. A unit drawn at random in its stratum then counts by its
area. Sums in a stratum are scaled so that the areas of its units add up to its known area, which is
a separate ratio estimator (Cochran 1977, section 6.10).

Source:
    Stehman (2014), Int. J. Remote Sensing 35:4923–4939, equations 2 to 28; Olofsson et al. (2014),
    Remote Sensing of Environment 148:42–57, equations 1 to 11; Cochran (1977), Sampling
    Techniques, sections 5 and 6.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64

from crossearth.assessment.intervals import Draws, Interval, draw_areas, interval_of
from crossearth.errors import ConfigError, ShapeError

__all__ = ['Accuracy', 'ClassAccuracy', 'Estimate', 'Sample', 'Strata', 'assess_sample']


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """The parts of the map that were sampled separately.

    Args:
        areas: Area of each stratum, in any unit.
        sizes: Number of pixels of each stratum, for the finite population correction; None leaves
            the correction out, as Olofsson et al. (2014) do.

    Raises:
        ShapeError: If the numbers of areas and sizes differ.
        ConfigError: If an area or a size is not above 0.
    """

    areas: Float64[np.ndarray, ' s']
    sizes: Int64[np.ndarray, ' s'] | None = None

    def __post_init__(self) -> None:
        if self.sizes is not None and len(self.sizes) != len(self.areas):
            raise ShapeError(
                f'got {len(self.areas)} areas and {len(self.sizes)} sizes: expected one of each '
                'per stratum'
            )
        given = [self.areas] if self.sizes is None else [self.areas, self.sizes]
        if any(not (np.isfinite(values) & (values > 0)).all() for values in given):
            raise ConfigError(
                f'areas of strata are {self.areas.tolist()}: expected areas and sizes above 0; '
                'leave out strata without pixels'
            )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The drawn pixels, with their mapped and true classes.

    Args:
        strata: Stratum of each unit, from 0.
        mapped: Class in the map, from 0.
        reference: True class, from 0.
        areas: Area of each unit, in any unit; None if all have the same size.

    Raises:
        ShapeError: If the arrays differ in length, or are empty.
    """

    strata: Int64[np.ndarray, ' n']
    mapped: Int64[np.ndarray, ' n']
    reference: Int64[np.ndarray, ' n']
    areas: Float64[np.ndarray, ' n'] | None = None

    def __post_init__(self) -> None:
        given = (self.strata, self.mapped, self.reference, self.areas)
        lengths = {len(values) for values in given if values is not None}
        if len(lengths) != 1 or lengths == {0}:
            raise ShapeError(
                f'strata, mapped, reference and areas have lengths {sorted(lengths)}: expected '
                'the same length, and at least one unit'
            )


class Estimate(NamedTuple):
    """An estimate with its uncertainty; NaN where the sample does not contain what it needs.

    Args:
        value: The estimate.
        standard_error: Its standard error.
        interval: The 95 % interval, from `draw_areas`; not symmetric.
    """

    value: float
    standard_error: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class ClassAccuracy:
    """Accuracy and area of one class.

    Args:
        users: User's accuracy, or precision: the share of its mapped area that is correct.
        producers: Producer's accuracy, or recall: the share of its true area that is mapped.
        f1: Harmonic mean of both.
        iou: Correct area over the area that has the class in the map, in truth or in both.
        area: Its true area, in the unit of the strata.
        mapped_area: Its area in the map: counted if strata are classes or parts of classes,
            otherwise estimated from the sample.
    """

    users: Estimate
    producers: Estimate
    f1: Estimate
    iou: Estimate
    area: Estimate
    mapped_area: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Accuracy:
    """The accuracy of a map, from a labelled sample.

    Args:
        overall: Share of the area that is correct.
        mean_iou: Mean of the IoU of the classes that have one.
        classes: Each class.
        counts: Units by mapped class (rows) and reference class (columns).
        proportions: The same as shares of the whole area, which add up to 1.
        proportion_errors: Standard errors of the shares.
        total_area: The whole area, in the unit of the strata.
    """

    overall: Estimate
    mean_iou: Estimate
    classes: tuple[ClassAccuracy, ...]
    counts: Int64[np.ndarray, 'k k']
    proportions: Float64[np.ndarray, 'k k']
    proportion_errors: Float64[np.ndarray, 'k k']
    total_area: float


def assess_sample(sample: Sample, strata: Strata, *, num_classes: int) -> Accuracy:
    """Estimate accuracies and areas from a labelled sample.

    Units must have been drawn at random, without replacement and with equal probability in each
    stratum. Strata can be anything: the map's classes, parts of them, or unrelated to them.

    Args:
        sample: The drawn units, with both classes.
        strata: The strata that they were drawn from.
        num_classes: Number of classes.

    Returns:
        Estimates with standard errors and 95 % intervals.

    Raises:
        ConfigError: If a stratum or class does not exist, or a stratum has too few units for a
            variance, which needs two units, or all its pixels.

    Example:
        >>> strata = Strata(np.array([0.3, 0.7]))
        >>> mapped = np.repeat([0, 1], [50, 50])
        >>> reference = np.repeat([0, 1, 0, 1], [40, 10, 5, 45])
        >>> found = assess_sample(Sample(mapped, mapped, reference), strata, num_classes=2)
        >>> round(found.overall.value, 3), round(found.overall.standard_error, 4)
        (0.87, 0.0346)
        >>> round(found.classes[0].area.value, 3)
        0.31
    """
    _check_classes(sample, num_classes)
    weights = _Weights(sample, strata)
    classes = np.arange(num_classes)
    is_mapped = (sample.mapped[:, None] == classes).astype(np.float64)
    is_true = (sample.reference[:, None] == classes).astype(np.float64)
    right = is_mapped * is_true
    everywhere = np.ones_like(right)
    ratios = {
        'users': weights.ratio(right, is_mapped),
        'producers': weights.ratio(right, is_true),
        'f1': weights.ratio(2 * right, is_mapped + is_true),
        'iou': weights.ratio(right, np.maximum(is_mapped, is_true)),
        'area': weights.ratio(is_true, everywhere),
        'mapped_area': weights.ratio(is_mapped, everywhere),
    }
    cells = weights.ratio(
        (is_mapped[:, :, None] * is_true[:, None, :]).reshape(len(right), -1),
        np.ones((len(right), num_classes**2)),
    )
    total = float(strata.areas.sum())
    tables = weights.tables(sample, num_classes)
    possible = _quantities(draw_areas(tables, areas=strata.areas, left=weights.left), total)
    columns = {
        name: _estimates(found, possible[name], scale=total if 'area' in name else 1.0)
        for name, found in ratios.items()
    }

    # these two use another prior, see `intervals`
    over_all = draw_areas(tables, areas=strata.areas, left=weights.left, over_all=True)
    overall = weights.ratio(right.sum(1, keepdims=True), everywhere[:, :1])
    scored = np.isfinite(ratios['iou'].values)
    mean_iou = _mean_iou(over_all, scored)
    return Accuracy(
        overall=_estimates(overall, over_all.right.sum(1, keepdims=True) / total)[0],
        mean_iou=_estimates(weights.mean(ratios['iou'], scored), mean_iou)[0],
        classes=tuple(
            ClassAccuracy(**{name: column[index] for name, column in columns.items()})
            for index in classes
        ),
        counts=np.bincount(
            sample.mapped * num_classes + sample.reference, minlength=num_classes**2
        ).reshape(num_classes, num_classes),
        proportions=cells.values.reshape(num_classes, num_classes),
        proportion_errors=np.sqrt(cells.variances).reshape(num_classes, num_classes),
        total_area=total,
    )


def _check_classes(sample: Sample, num_classes: int) -> None:
    for name in ('mapped', 'reference'):
        values: Int64[np.ndarray, ' n'] = getattr(sample, name)
        if not ((values >= 0) & (values < num_classes)).all():
            raise ConfigError(
                f'{name} classes run from {values.min()} to {values.max()}: expected 0 to '
                f'{num_classes - 1}'
            )


class _Ratios(NamedTuple):
    """Ratios of areas: estimates, variances, and the influence of each unit on the estimates."""

    values: Float64[np.ndarray, ' q']
    variances: Float64[np.ndarray, ' q']
    influences: Float64[np.ndarray, 'n q']


def _quantities(draws: Draws, total: float) -> dict[str, Float64[np.ndarray, 'd k']]:
    """All quantities of each class, from drawn areas."""
    right, mapped, true = draws
    with np.errstate(invalid='ignore', divide='ignore'):
        return {
            'users': right / mapped,
            'producers': right / true,
            'f1': 2 * right / (mapped + true),
            'iou': right / (mapped + true - right),
            'area': true / total,
            'mapped_area': mapped / total,
        }


def _mean_iou(draws: Draws, scored: Bool[np.ndarray, ' k']) -> Float64[np.ndarray, 'd 1']:
    iou = _quantities(draws, 1.0)['iou'][:, scored]
    mean: Float64[np.ndarray, 'd 1'] = iou.sum(1, keepdims=True) / scored.sum()
    return mean


def _estimates(
    found: _Ratios, possible: Float64[np.ndarray, 'd q'], *, scale: float = 1.0
) -> list[Estimate]:
    ends = interval_of(found.values, possible) * scale
    errors = np.sqrt(found.variances)
    errors = np.where(errors <= 1e-12 * found.values, 0, errors) * scale  # removes rounding errors
    return [
        Estimate(float(value) * scale, float(error), Interval(float(low), float(high)))
        for value, error, (low, high) in zip(found.values, errors, ends, strict=True)
    ]


class _Weights:
    """The area that each unit represents, and the ratio estimates that follow from it."""

    def __init__(self, sample: Sample, strata: Strata) -> None:
        count = len(strata.areas)
        if not ((sample.strata >= 0) & (sample.strata < count)).all():
            raise ConfigError(
                f'units are in strata {sample.strata.min()} to {sample.strata.max()}: expected 0 '
                f'to {count - 1}'
            )
        drawn = np.bincount(sample.strata, minlength=count)
        # the finite population correction: a stratum that was drawn completely has no variance
        self.left = np.ones(count) if strata.sizes is None else 1 - drawn / strata.sizes
        if (self.left < 0).any():
            raise ConfigError(
                f'{drawn.tolist()} units were drawn in strata of {strata.sizes} pixels: expected '
                'each pixel at most once'
            )
        few = (drawn == 0) | ((drawn == 1) & (self.left > 0))
        if few.any():
            raise ConfigError(
                f'strata {np.flatnonzero(few).tolist()} have {drawn[few].tolist()} labelled units: '
                'a variance needs two in each stratum; label more of them, or merge strata'
            )
        own = np.ones(len(sample.strata)) if sample.areas is None else sample.areas
        # Cochran (1977), 6.10: scaled so that the units of a stratum add up to its known area
        sums = np.bincount(sample.strata, own, minlength=count)
        self._of_unit = own * (strata.areas / sums)[sample.strata]
        self._units = own * (drawn / sums)[sample.strata]
        self._strata = sample.strata
        self._member = (sample.strata[:, None] == np.arange(count)).astype(np.float64)
        self._areas = strata.areas
        # n / (n − 1) makes variances unbiased; with n = 1, `left` is 0, so 1 avoids 0 / 0
        self._factors = self.left * drawn / np.maximum(drawn - 1, 1)

    def tables(self, sample: Sample, num_classes: int) -> Float64[np.ndarray, 's k k']:
        """Units of each stratum by both classes, weighted by the size of their pixels.

        The weights add up to the number of units of the stratum.
        """
        shape = (len(self._areas), num_classes, num_classes)
        cell = np.ravel_multi_index((self._strata, sample.mapped, sample.reference), shape)
        return np.bincount(cell, self._units, minlength=int(np.prod(shape))).reshape(shape)

    def ratio(self, y: Float64[np.ndarray, 'n q'], x: Float64[np.ndarray, 'n q']) -> _Ratios:
        """Area of `y` over area of `x`, which contains `y`; NaN where `x` is empty."""
        above, below = self._of_unit @ y, self._of_unit @ x
        with np.errstate(invalid='ignore', divide='ignore'):
            values = np.minimum(above, below) / below  # never above 1, despite rounding
            # the linearised ratio, (y − R x) / X
            residuals = (y - values * x) / below
        means = (self._member * self._of_unit[:, None]).T @ residuals / self._areas[:, None]
        influences = self._of_unit[:, None] * (residuals - means[self._strata])
        return _Ratios(values, self._variances(influences), influences)

    def mean(self, ratios: _Ratios, chosen: Bool[np.ndarray, ' q']) -> _Ratios:
        """The mean of some ratios; NaN if there are none."""
        count = chosen.sum()
        with np.errstate(invalid='ignore'):
            influences = ratios.influences[:, chosen].sum(1, keepdims=True) / count
            values = ratios.values[chosen].sum(keepdims=True) / count
        return _Ratios(values, self._variances(influences), influences)

    def _variances(self, influences: Float64[np.ndarray, 'n q']) -> Float64[np.ndarray, ' q']:
        """Variances of sums of influences over the units."""
        found: Float64[np.ndarray, ' q'] = self._factors @ (self._member.T @ influences**2)
        return found
