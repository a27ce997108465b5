"""How often do the 95 % intervals of `crossearth assess` contain the truth?

    python performance/assess.py [--simulations 1000] [--n 400]

Each case is a map whose truth is known for every pixel. A stratified sample is drawn from it again
and again, allocated as in `crossearth assess sample`, and assessed. For each quantity, the table
shows how often the interval contained the truth: first for the intervals of this library, then for
the usual ones, the estimate ± 1.96 standard errors. With 1,000 simulations, an interval of exactly
95 % falls between 93.6 and 96.4 % in nineteen of twenty cases.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossearth.assessment import Sample, Strata, allocate, assess_sample

type Counts = NDArray[np.int64]
MEASURES = ('users', 'producers', 'area', 'iou', 'f1')


@dataclass(frozen=True)
class Case:
    """A map: pixels of each stratum by mapped class and true class, (s, k, k)."""

    name: str
    pixels: Counts
    sizes: tuple[int, ...] | None = None  # units per stratum; None to allocate them


def of_classes(
    name: str,
    shares: list[float],
    confusion: list[list[float]],
    sizes: tuple[int, ...] | None = None,
    pixels: int = 10_000_000,
) -> Case:
    """A map whose strata are its classes; the confusion has the mapped class in rows."""
    rows = np.array(confusion, float)
    rows /= rows.sum(1, keepdims=True)
    table = np.rint(pixels * np.array(shares)[:, None] / sum(shares) * rows).astype(np.int64)
    k = len(table)
    strata = np.zeros((k, k, k), np.int64)
    strata[np.arange(k), np.arange(k)] = table
    return Case(name, strata, sizes)


def of_confidence(name: str) -> Case:
    """Strata are two classes times two confidences. Errors gather where the model was unsure."""
    strata = np.zeros((4, 2, 2), np.int64)
    strata[:, [0, 0, 1, 1], :] = 0
    for stratum, (mapped, size, right) in enumerate(
        [(0, 8_500_000, 0.997), (0, 700_000, 0.8), (1, 500_000, 0.93), (1, 300_000, 0.65)]
    ):
        strata[stratum, mapped, mapped] = round(size * right)
        strata[stratum, mapped, 1 - mapped] = size - round(size * right)
    return Case(name, strata)


def of_another_map(name: str) -> Case:
    """Strata are the classes of an older map. A newer map is assessed."""
    # columns: classes of the newer map, then its truth
    older = np.array([[0.8, 0.1, 0.1], [0.15, 0.8, 0.05], [0.1, 0.1, 0.8]])
    newer = np.array([[0.92, 0.05, 0.03], [0.08, 0.88, 0.04], [0.04, 0.06, 0.9]])
    shares = np.array([0.6, 0.3, 0.1]) * 10_000_000
    return Case(name, np.rint(shares[:, None, None] * older[:, :, None] * newer).astype(np.int64))


CASES = (
    of_classes(
        'deforestation (Olofsson et al. 2014)',
        [0.02, 0.015, 0.32, 0.645],
        [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]],
        (75, 75, 165, 325),
    ),
    of_classes(
        'six classes of a city',
        [0.28, 0.26, 0.23, 0.15, 0.02, 0.06],
        [
            [0.88, 0.03, 0.06, 0.02, 0.002, 0.008],
            [0.04, 0.93, 0.01, 0.01, 0.001, 0.009],
            [0.07, 0.02, 0.80, 0.10, 0.001, 0.009],
            [0.01, 0.01, 0.12, 0.85, 0.001, 0.009],
            [0.12, 0.05, 0.01, 0.01, 0.80, 0.01],
            [0.20, 0.10, 0.10, 0.02, 0.01, 0.57],
        ],
    ),
    of_classes('roads', [0.95, 0.05], [[0.985, 0.015], [0.2, 0.8]]),
    of_classes('buildings, good', [0.85, 0.15], [[0.99, 0.01], [0.05, 0.95]]),
    of_classes('a class of 0.5 %', [0.995, 0.005], [[0.998, 0.002], [0.3, 0.7]]),
    of_classes(
        'three classes, 99 % right',
        [0.7, 0.2, 0.1],
        [[0.995, 0.003, 0.002], [0.01, 0.985, 0.005], [0.01, 0.01, 0.98]],
    ),
    of_classes(
        'six classes, 98 % right',
        [0.4, 0.3, 0.15, 0.1, 0.03, 0.02],
        (np.eye(6) * 0.976 + 0.004).tolist(),
    ),
    of_confidence('classes × confidence'),
    of_another_map('strata of another map'),
)


def measures_of(table: Counts) -> dict[str, NDArray[np.float64]]:
    """The true values, from all pixels by mapped and true class."""
    right, mapped, true = np.diag(table), table.sum(1), table.sum(0)
    iou = right / (mapped + true - right)
    return {
        'overall': right.sum(keepdims=True) / table.sum(),
        'mean_iou': iou.mean(keepdims=True),
        'users': right / mapped,
        'producers': right / true,
        'area': true.astype(float),
        'iou': iou,
        'f1': 2 * right / (mapped + true),
    }


def simulate(case: Case, *, simulations: int, n: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """Coverage of each quantity, (2, k): for our intervals, and for ± 1.96 standard errors."""
    generator = np.random.default_rng(seed)
    flat = case.pixels.reshape(len(case.pixels), -1)
    k = case.pixels.shape[1]
    sizes = flat.sum(1)
    drawn = allocate(sizes.astype(float), sizes, n=n) if case.sizes is None else case.sizes
    strata = Strata(sizes.astype(float), sizes)
    truth = measures_of(case.pixels.sum(0))
    held = {name: np.zeros((2, len(values))) for name, values in truth.items()}
    known = {name: np.zeros(len(values)) for name, values in truth.items()}
    for _ in range(simulations):
        counts = np.array(
            [
                generator.multivariate_hypergeometric(cells, size)
                for cells, size in zip(flat, drawn, strict=True)
            ]
        )
        stratum, mapped, reference = np.unravel_index(
            np.repeat(np.arange(counts.size), counts.ravel()), (len(flat), k, k)
        )
        found = assess_sample(Sample(stratum, mapped, reference), strata, num_classes=k)
        estimates = {'overall': [found.overall], 'mean_iou': [found.mean_iou]} | {
            name: [getattr(one, name) for one in found.classes] for name in MEASURES
        }
        for name, values in estimates.items():
            value, error, ends = (np.array(part) for part in zip(*values, strict=True))
            real = truth[name]
            known[name] += np.isfinite(value)
            held[name][0] += (ends[:, 0] <= real) & (real <= ends[:, 1])
            held[name][1] += np.abs(value - real) <= 1.96 * error
    return {name: 100 * held[name] / np.maximum(known[name], 1) for name in truth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--simulations', type=int, default=1000)
    parser.add_argument('--n', type=int, default=400, help='size of samples, where allocated')
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    every: dict[str, list[NDArray[np.float64]]] = {}
    for case in CASES:
        found = simulate(
            case, simulations=arguments.simulations, n=arguments.n, seed=arguments.seed
        )
        print(case.name)
        for row, kind in enumerate(('here', '± 1.96 SE')):
            print(
                f'  {kind:9}',
                ' | '.join(
                    f'{name} ' + ' '.join(f'{part:5.1f}' for part in values[row])
                    for name, values in found.items()
                ),
            )
        for name, values in found.items():
            every.setdefault(name, []).append(values)
    print('quantity    within 93–97 %   lowest highest   ± 1.96 SE: within   lowest highest')
    for name, values in every.items():
        here, usual = np.concatenate(values, axis=1)
        inside = [int(((part >= 93) & (part <= 97)).sum()) for part in (here, usual)]
        print(
            f'{name:10} {inside[0]:4} of {len(here):2} {here.min():13.1f} {here.max():7.1f}'
            f'{inside[1]:15} of {len(usual):2} {usual.min():9.1f} {usual.max():7.1f}'
        )


if __name__ == '__main__':
    main()
