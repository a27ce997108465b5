"""Runs `crossearth demo` with several seeds: mIoU of every domain, differences, and time.

    OMP_NUM_THREADS=2 python performance/demo.py --output demos --seeds 0 1 2 3 4

Each seed runs the whole demo in its own folder. The script prints every table, then the mean over
seeds, and how many seeds reach the goal: on the mean of the unseen domains at least 5 points above
the baseline, and on the source at most 2 points below it. It prints the same for the baseline at
the right ground sampling distance. A seed whose table exists is not run again. `demos/seeds.csv`
has every number. All numbers are synthetic.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from crossearth.demo import BASELINE, OURS, RIGHT_GSD, run_demo

GAIN, LOSS = 5.0, 2.0


def read_table(path: Path) -> dict[str, dict[str, float]]:
    """Method → column → percent, as the demo wrote it."""
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in rows[0] if name not in ('data', 'method')]
    return {row['method']: {name: float(row[name]) for name in columns} for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, default=Path('demos'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4])
    parser.add_argument('--quick', action='store_true')
    args = parser.parse_args()
    tables = {}
    for seed in args.seeds:
        folder = args.output / f'{"quick" if args.quick else "seed"}{seed}'
        if not (folder / 'scores.csv').exists():
            begin = time.perf_counter(), time.process_time()
            run_demo(folder, quick=args.quick, seed=seed, say=print)
            wall, busy = time.perf_counter() - begin[0], time.process_time() - begin[1]
            print(f'seed {seed}: {wall:.0f} s by the clock, {busy:.0f} s of CPU time')
        tables[seed] = read_table(folder / 'scores.csv')
    write_and_print(tables, args.output / 'seeds.csv')


def write_and_print(tables: dict[int, dict[str, dict[str, float]]], path: Path) -> None:
    columns = list(next(iter(tables.values()))[BASELINE])
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['data', 'seed', 'method', *columns])
        for seed, table in tables.items():
            for method in (BASELINE, RIGHT_GSD, OURS):
                row = [table[method][name] for name in columns]
                writer.writerow(['synthetic', seed, method, *row])
    print(f'\nmIoU in %, synthetic, mean and standard deviation of {len(tables)} seeds')
    print_row(['method', *columns])
    for method in (BASELINE, RIGHT_GSD, OURS):
        values = ([table[method][name] for table in tables.values()] for name in columns)
        print_row([method, *(of_seeds(list(column), '.1f') for column in values)])
    for other in (BASELINE, RIGHT_GSD):
        gains = {
            seed: [table[OURS][name] - table[other][name] for name in columns]
            for seed, table in tables.items()
        }
        print(f'\n{OURS} - {other}, points of mIoU, synthetic')
        print_row(['seed', *columns])
        for seed, row in gains.items():
            print_row([str(seed), *(f'{value:+.1f}' for value in row)])
        means = [of_seeds(values, '+.1f') for values in zip(*gains.values(), strict=True)]
        print_row(['mean', *means])
        reached = sum(row[-1] >= GAIN and row[0] >= -LOSS for row in gains.values())
        print(
            f'at least {GAIN:+} unseen and {-LOSS:+} on the source: {reached} of {len(gains)} seeds'
        )
    print(f'numbers in {path}')


def of_seeds(values: Sequence[float], form: str) -> str:
    spread = f' ± {statistics.stdev(values):.1f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):{form}}{spread}'


def print_row(cells: list[str]) -> None:
    print('| ' + ' | '.join(cells) + ' |')


if __name__ == '__main__':
    main()
