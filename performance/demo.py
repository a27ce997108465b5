"""Runs `crossearth demo` with several seeds: mIoU of every domain, differences, and time.

    OMP_NUM_THREADS=2 python performance/demo.py --output demos --seeds 0 1 2 3 4

Each seed runs the whole demo in its own folder. The script prints every table, then the mean over
seeds, and how many seeds reach the goal: on the mean of the unseen domains at least 5 points above
the baseline, and on the source at most 2 points below it. It prints the same for the baseline at
the right ground sampling distance. A seed whose table exists is not run again. `demos/seeds.csv`
has every number. All numbers are synthetic.

The demo scores two scenes per domain, so that it stays short. A rare class then stands on a few
objects. `--places 12` also scores the same weights on twelve more scenes per domain, of places that
neither training nor the demo has seen, and writes `demos/places.csv`.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import rasterio
import torch
from torch import Tensor, nn

from crossearth import load_model, predict_scene
from crossearth.demo import BASELINE, OURS, RIGHT_GSD, run_demo
from crossearth.inference import Running, View, Windows
from crossearth.metrics import confusion_matrix, mean_iou
from crossearth.synthetic import EARTH_DOMAINS, EarthDomain, SyntheticEarth

GAIN, LOSS = 5.0, 2.0
FIRST_PLACE = 1000  # no index of the demo is as high
SIDE_M = 192  # of a scene of the demo
CLASSES = 6

type Scene = tuple[Path, Path]  # image, mask


def read_table(path: Path) -> dict[str, dict[str, float]]:
    """Method → column → percent, as the demo wrote it."""
    with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in rows[0] if name not in ('data', 'seed', 'method')]
    return {row['method']: {name: float(row[name]) for name in columns} for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, default=Path('demos'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4])
    parser.add_argument('--quick', action='store_true')
    parser.add_argument('--places', type=int, default=0, help='further scenes per domain')
    args = parser.parse_args()
    tables, further = {}, {}
    for seed in args.seeds:
        folder = args.output / f'{"quick" if args.quick else "seed"}{seed}'
        if not (folder / 'scores.csv').exists():
            begin = time.perf_counter(), time.process_time()
            run_demo(folder, quick=args.quick, seed=seed, say=print)
            wall, busy = time.perf_counter() - begin[0], time.process_time() - begin[1]
            print(f'seed {seed}: {wall:.0f} s by the clock, {busy:.0f} s of CPU time')
        tables[seed] = read_table(folder / 'scores.csv')
        if args.places:
            further[seed] = score_places(folder, seed, args.places)
    write_and_print(tables, args.output / 'seeds.csv')
    if further:
        print(f'\n{args.places} further places per domain, the same weights')
        write_and_print(further, args.output / 'places.csv')


def score_places(folder: Path, seed: int, places: int) -> dict[str, dict[str, float]]:
    """Method → column → percent, on scenes of places that the demo does not use."""
    table = folder / f'places{places}.csv'
    if table.exists():
        return read_table(table)
    models = {name: load_model(folder / f'{name}.safetensors') for name in (BASELINE, OURS)}
    cases = (
        (BASELINE, models[BASELINE], View(gsd_m='native')),
        (RIGHT_GSD, models[BASELINE], View()),
        (OURS, models[OURS], View()),
    )
    found: dict[str, dict[str, float]] = {name: {} for name, _, _ in cases}
    for domain in EARTH_DOMAINS.values():
        scenes = draw_places(folder, domain, seed, places)
        for name, model, view in cases:
            found[name][domain.name] = score(model, scenes, view)
    for row in found.values():
        unseen = [value for name, value in row.items() if name != 'source']
        row['mean of unseen'] = statistics.mean(unseen)
    write_table(table, {seed: found})
    return found


def draw_places(folder: Path, domain: EarthDomain, seed: int, places: int) -> list[Scene]:
    """Images and masks of places of a domain that the demo does not use."""
    where = folder / domain.name / 'places'
    images = sorted((where / 'images').glob('*.tif'))
    if len(images) == places:  # drawn for another model
        return [(image, where / 'masks' / image.name) for image in images]
    earth = SyntheticEarth(seed)
    pixel_m = float(earth.transform(domain, FIRST_PLACE).a)
    # as in the demo: coarse scenes cover more ground, so that they have pixels to count
    side_px = int(SIDE_M / min(pixel_m, 0.5))
    return earth.write(
        folder, domain, split='places', scenes=places, size_px=side_px, start=FIRST_PLACE
    )


def score(model: nn.Module, scenes: Sequence[Scene], view: View) -> float:
    """Mean IoU over the pixels of all scenes, in percent."""
    counts = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for image, mask in scenes:
        counts += confusion_matrix(mapped(model, image, view), read(mask), num_classes=CLASSES)
    return 100 * float(mean_iou(counts))


def mapped(model: nn.Module, image: Path, view: View) -> Tensor:
    """Class ids of the map of a scene, (h, w), on the scene's own pixels."""
    made = image.parents[1] / 'map.tif'  # not among the images
    windows, running = Windows(tile_px=512, overlap=1 / 8), Running(batch_size=1)
    predict_scene(model, image, made, windows=windows, running=running, view=view, progress=False)
    ids = read(made)
    made.unlink()
    return ids


def read(path: Path) -> Tensor:
    with rasterio.open(path) as raster:
        return torch.from_numpy(raster.read(1)).long()


def write_table(path: Path, tables: dict[int, dict[str, dict[str, float]]]) -> None:
    columns = list(next(iter(tables.values()))[BASELINE])
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['data', 'seed', 'method', *columns])
        for seed, table in tables.items():
            for method in (BASELINE, RIGHT_GSD, OURS):
                row = [f'{table[method][name]:.1f}' for name in columns]
                writer.writerow(['synthetic', seed, method, *row])


def write_and_print(tables: dict[int, dict[str, dict[str, float]]], path: Path) -> None:
    columns = list(next(iter(tables.values()))[BASELINE])
    write_table(path, tables)
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
