"""Which part of the demo's recipe gains or costs what, on further places of the synthetic Earth.

    OMP_NUM_THREADS=2 python performance/demo_parts.py --output demo-parts --seeds 0 1 2

Each seed draws the scenes of `crossearth demo` and trains the baseline, the recipe, and parts of
the recipe. All of them are scored as by `performance/demo.py --places 12`, each scene at the ground
sampling distance of training. What was scored before is not trained again. All numbers are
synthetic.
"""

import argparse
import csv
import statistics
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
from demo import draw_places, score

from crossearth import demo
from crossearth.benchmark import paired_interval
from crossearth.inference import View
from crossearth.synthetic import EARTH_DOMAINS

MEAN = 'mean of unseen'
BASELINE = 'baseline'

type Recipe = Callable[[Path], demo._Recipe]


def lora_alone(styles: Path) -> demo._Recipe:
    ours = demo.recommended_recipe(styles)
    return demo._Recipe(ours.model, [], ours.lr)


def styles_alone(styles: Path) -> demo._Recipe:
    plain = demo.plain_recipe(styles)
    return demo._Recipe(plain.model, demo.recommended_recipe(styles).augment, plain.lr)


def photometric_and_lora(styles: Path) -> demo._Recipe:
    ours = demo.recommended_recipe(styles)
    return demo._Recipe(ours.model, ours.augment[:1], ours.lr)


def fourier_and_lora(styles: Path) -> demo._Recipe:
    ours = demo.recommended_recipe(styles)
    return demo._Recipe(ours.model, ours.augment[1:], ours.lr)


RECIPES: dict[str, Recipe] = {
    BASELINE: demo.plain_recipe,
    'ours': demo.recommended_recipe,
    'lora alone': lora_alone,
    'photometric and fourier alone': styles_alone,
    'photometric and lora': photometric_and_lora,
    'fourier and lora': fourier_and_lora,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--output', type=Path, default=Path('demo-parts'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--parts', nargs='+', choices=list(RECIPES)[1:], default=list(RECIPES)[1:])
    parser.add_argument('--places', type=int, default=12, help='scenes per domain')
    args = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (BASELINE, *args.parts)}
    for seed in args.seeds:
        for name, rows in found.items():
            rows.append(scored(name, args.output / f'seed{seed}', seed, args.places))
            text = ', '.join(f'{column} {value:.1f}' for column, value in rows[-1].items())
            print(f'seed {seed}, {name}: {text}', flush=True)
    if len(args.seeds) > 1:
        print('\nDifferences to the baseline with 95 % intervals over seeds, paired t')
        print_differences(found)


def print_differences(found: dict[str, list[dict[str, float]]]) -> None:
    for name in list(found)[1:]:
        for column in found[name][0]:
            ours, plain = ([row[column] for row in found[one]] for one in (name, BASELINE))
            gain = statistics.mean(a - b for a, b in zip(ours, plain, strict=True))
            interval = paired_interval(ours, plain)
            print(f'{name}, {column}: {gain:+.1f} ({interval.low:+.1f} … {interval.high:+.1f})')


def scored(name: str, folder: Path, seed: int, places: int) -> dict[str, float]:
    """Column → mIoU in percent."""
    table = folder / f'{name}.csv'
    if table.exists():
        with table.open(newline='') as file:
            return {column: float(value) for column, value in csv.reader(file)}
    if not (folder / 'style').exists():
        demo._clear(folder)
        demo._draw(folder, demo._FULL, seed)
    pl.seed_everything(seed, verbose=False)
    model = demo._train(name, folder, RECIPES[name](folder / 'style'), demo._FULL, seed)
    found = {
        domain.name: score(model, draw_places(folder, domain, seed, places), View())
        for domain in EARTH_DOMAINS.values()
    }
    found[MEAN] = statistics.mean(value for one, value in found.items() if one != 'source')
    with table.open('w', newline='') as file:
        csv.writer(file).writerows((column, f'{value:.3f}') for column, value in found.items())
    return found


if __name__ == '__main__':
    main()
