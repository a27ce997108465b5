"""What `crossearth demo` finds with other seeds: mIoU of every domain, differences, and time.

    OMP_NUM_THREADS=2 python performance/demo.py --output demos --seeds 0 1 2 3 4

Runs the whole demo once per seed, each in its own folder, prints every table and then the mean over
seeds with how many of them reach the goal: the mean of the unseen domains at least 5 points above
the baseline, the source at most 2 points below it. A seed whose table is there already is not run
again. `demos/seeds.csv` has every number. All numbers are synthetic.
"""

import argparse
import csv
import statistics
import time
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
            print(f'seed {seed}: {wall:.0f} s by the clock, {busy:.0f} s of processor')
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
    print(f'\nours - {BASELINE}, points of mIoU, synthetic; then the mean of {len(tables)} seeds')
    print(f'{"seed":>6}' + ''.join(f'{name:>17}' for name in columns))
    gains = {
        seed: [table[OURS][name] - table[BASELINE][name] for name in columns]
        for seed, table in tables.items()
    }
    for seed, row in gains.items():
        print(f'{seed:6}' + ''.join(f'{value:+17.1f}' for value in row))
    means = [statistics.mean(values) for values in zip(*gains.values(), strict=True)]
    print(f'{"mean":>6}' + ''.join(f'{value:+17.1f}' for value in means))
    reached = sum(row[-1] >= GAIN and row[0] >= -LOSS for row in gains.values())
    print(f'goal reached by {reached} of {len(gains)} seeds; numbers in {path}')


if __name__ == '__main__':
    main()
