"""Does adapting a model to unlabelled scenes help, and can we estimate accuracy without labels?

Small models learn roads in one place each, and map all other places. They see the scenes' own
pixels and the ground sampling distance of training (or half and twice the size, if it is unknown):

    python performance/adaptation.py train --data DATA --output adaptation --seeds 0
    python performance/adaptation.py measure --data DATA --output adaptation --seeds 0
    python performance/adaptation.py report --output adaptation

`train` writes one model file per source and seed. `measure` adds one row per pair to
`measures.jsonl`, and skips rows that exist. `report` prints the tables of `docs/evidence.md`. The
images are not part of this library: `--data` needs the folders `roads`, `multiclass` and `weights`.
Everything runs on one CPU core.
"""

import argparse
import csv
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import rasterio
import torch
import torch.nn.functional as F
from rasterio.errors import NotGeoreferencedWarning
from scipy.stats import spearmanr
from torch import Tensor, nn

from crossearth.accuracy import AccuracyMeter
from crossearth.adaptation.advice import SMALL_GAP, evenness
from crossearth.adaptation.change import Change, measure_change
from crossearth.adaptation.entropy import Tent
from crossearth.adaptation.gap import measure_gap
from crossearth.adaptation.norms import Norms
from crossearth.adaptation.self_training import PseudoLabels
from crossearth.adaptation.windows import SceneWindows
from crossearth.calibration import Calibration
from crossearth.imagery import Imagery
from crossearth.labels import ROAD
from crossearth.metrics import confusion_matrix, iou_per_class
from crossearth.models import Segmenter, fpn_timm, load_model, save_model
from crossearth.models.decoders import pixel_losses
from crossearth.models.source import SourceMeter

CROP_PX, BATCH, STEPS, CHIPS = 256, 4, 250, 12
CHOSEN_ON = ('massachusetts', 'tianjin_google')  # sources on which the rule of the advice was set
SAID = ('value', 'low', 'high')
KEY = ('source', 'norms', 'seed', 'target', 'factor')
METHODS = {
    'norms .5': Norms(0.5),
    'norms 1': Norms(1.0),
    'tent': Tent(0.5),
    'self-training': PseudoLabels(0.5),
}
GSD_M = {'massachusetts': 1.0, 'tianjin_google': 0.463, 'tianjin_mapbox': 0.463, 'ottawa': 0.21}
SOURCES = ('massachusetts', 'eth', 'tianjin_google', 'tianjin_mapbox', 'dubai')
type Chips = list[tuple[Tensor, Tensor]]


def read_chips(data: Path, domain: str, part: str) -> Chips:
    """Images (3, h, w) in [0, 1] and road masks (h, w) of a part: `train`, `val` or `test`."""
    folder, names = {
        'massachusetts': lambda: (data / 'roads/massachusetts' / part, None),
        'eth': lambda: (data / 'roads/eth_cil2022', part_of(data, 'eth', part)),
        'ottawa': lambda: (data / 'roads/ottawa', None),
        'dubai': lambda: (data / 'multiclass/dubai', part_of(data, 'dubai', part)),
    }.get(domain, lambda: (data / 'roads' / domain, part_of(data, domain, part)))()
    chips = []
    for path in sorted((folder / 'images').iterdir()):
        if names is not None and path.stem not in names:
            continue
        (mask,) = (folder / 'masks').glob(f'{path.stem}.*')
        with rasterio.open(path) as file:
            image = torch.from_numpy(file.read((1, 2, 3))).float() / 255
        with rasterio.open(mask) as file:
            ids = file.read(1)
        road = ids == 3 if domain == 'dubai' else ids >= 128
        chips.append((image, torch.from_numpy(road).long()))
    return chips


def part_of(data: Path, domain: str, part: str) -> set[str]:
    """Names of the chips of a part. The parts are separate places where these are known."""
    if domain.startswith('tianjin'):
        with (data / 'split.tsv').open() as file:
            rows = list(csv.DictReader(file, delimiter='\t'))
        own = [row for row in rows if row['set'] == f'roads/{domain}']
        kept = sorted(row['name'] for row in own if row['split'] == 'train')
        test = {row['name'] for row in own if row['split'] == 'test'}
        return {'train': set(kept[:56]), 'val': set(kept[56:]), 'test': test}[part]
    folder = 'multiclass/dubai' if domain == 'dubai' else 'roads/eth_cil2022'
    names = sorted(path.stem for path in (data / folder / 'images').iterdir())
    first, second = (45, 60) if domain == 'dubai' else (90, 110)
    bounds = {'train': (0, first), 'val': (first, second), 'test': (second, len(names))}
    return set(names[slice(*bounds[part])])


def train(args: argparse.Namespace) -> None:
    (weights,) = (args.data / 'weights/backbone').glob('*')
    for seed in args.seeds:
        for source in args.sources:
            for norms in args.norms:
                path = args.output / f'{source}-{norms}-{seed}.safetensors'
                if path.exists():
                    continue
                torch.manual_seed(seed)
                model = fpn_timm(
                    'tf_efficientnet_lite0', num_classes=2, width=64, pretrained=str(weights)
                )
                loss = learn(model, read_chips(args.data, source, 'train'), norms, seed)
                save_model(model, path, labels=ROAD, gsd_m=GSD_M.get(source), trainable_only=False)
                print(f'{path.name}: loss of the last 20 steps {loss:.3f}', flush=True)


def learn(model: Segmenter, chips: Chips, norms: str, seed: int) -> float:
    """Train with cross entropy + Dice, flips, and AdamW; `resting` keeps the norms of ImageNet."""
    draws = np.random.default_rng(seed)
    model.train()
    if norms == 'resting':
        for module in model.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, STEPS, power=0.9)
    losses = []
    for _ in range(STEPS):
        batch = [crop(*chips[draws.integers(len(chips))], draws) for _ in range(BATCH)]
        images, masks = (torch.stack(parts) for parts in zip(*batch, strict=True))
        loss = sum(pixel_losses(model(images), masks).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
    model.eval()
    return sum(losses[-20:]) / 20


def crop(image: Tensor, mask: Tensor, draws: np.random.Generator) -> tuple[Tensor, Tensor]:
    row = draws.integers(image.shape[1] - CROP_PX + 1)
    col = draws.integers(image.shape[2] - CROP_PX + 1)
    here = np.s_[row : row + CROP_PX, col : col + CROP_PX]
    axes = [axis for axis in (-2, -1) if draws.random() < 0.5]
    return image[:, *here].flip(axes), mask[here].flip(axes)


def measure(args: argparse.Namespace) -> None:
    known = args.output / 'measures.jsonl'
    done = [json.loads(line) for line in known.read_text().splitlines()] if known.exists() else []
    keys = {tuple(row[name] for name in KEY) for row in done}
    for seed in args.seeds:
        for source in args.sources:
            for norms in args.norms:
                path = args.output / f'{source}-{norms}-{seed}.safetensors'
                if path.exists():
                    measure_model(args, path, (source, norms, seed), keys, known)


@torch.no_grad()
def measure_model(
    args: argparse.Namespace, path: Path, name: tuple[str, str, int], keys: set, known: Path
) -> None:
    """One row per domain that the model maps, at each size at which it is seen."""
    source, norms, seed = name
    model = load_model(path)
    meter = SourceMeter(model)
    for image, _ in read_chips(args.data, source, 'train')[:24]:
        meter.add_image(cut(image))
    for image, mask in read_chips(args.data, source, 'val'):
        meter.add_labelled(cut(image), cut(mask))
    imagery = Imagery(source=meter.statistics(), gsd_m=GSD_M.get(source))
    for target, factor, seen in views_of(source):
        key = (source, norms, seed, target, round(factor, 3))
        if key in keys:
            continue
        chips = read_chips(args.data, target, 'test')[:CHIPS]
        images = [cut(resize(image, factor)) for image, _ in chips]
        masks = [cut(resize_mask(mask, factor)) for _, mask in chips]
        scenes = [(image, torch.ones(image.shape[1:], dtype=torch.bool)) for image in images]
        windows = SceneWindows([], scenes)
        gap = measure_gap(model, windows, imagery)
        before = [model(image[None])[0] for image in images]
        iou, estimate = iou_of(before, masks), expect(before, imagery.source.calibration)
        methods = {}
        for label, method in METHODS.items():
            if label not in args.methods:
                continue
            start = time.perf_counter()
            adapted = method.adapt(model, windows, seed=seed)
            spent = time.perf_counter() - start
            after = [adapted(image[None])[0] for image in images]
            methods[label] = {
                'seconds': spent,
                'iou': iou_of(after, masks),
                'change': asdict(change_between(before, after)),
            }
        row = {
            **dict(zip(KEY, key, strict=True)),
            'seen': seen,
            'iou': iou,
            'estimate': estimate,
            'bands': gap.bands,
            'sharpness_ratio': gap.sharpness_ratio,
            'features': gap.features,
            'norm_distance': gap.norm_distance,
            'methods': methods,
        }
        with known.open('a') as file:
            file.write(json.dumps(row) + '\n')
        print(
            *key,
            seen,
            f'{100 * iou:.1f}',
            {k: round(100 * m['iou'], 1) for k, m in methods.items()},
            flush=True,
        )


def views_of(source: str) -> list[tuple[str, float, str]]:
    """Domains to map, with the factors by which their images are resized and names for these."""
    views = []
    for target in (*SOURCES, 'ottawa'):
        views.append((target, 1.0, 'own'))
        if target == source:
            continue
        if source in GSD_M and target in GSD_M:
            ratio = GSD_M[target] / GSD_M[source]
            views += [] if ratio == 1 else [(target, ratio, 'right')]
        elif source == 'massachusetts':  # ETH and Dubai are finer, by an unknown factor
            views.append((target, 0.5, 'nearer'))
        elif target == 'massachusetts':
            views.append((target, 2.0, 'nearer'))
    return views


def iou_of(logits: list[Tensor], masks: list[Tensor]) -> float:
    """IoU of roads over all pixels."""
    pairs = zip(logits, masks, strict=True)
    confusion = sum(confusion_matrix(one.argmax(0), mask, num_classes=2) for one, mask in pairs)
    return float(iou_per_class(confusion)[1])


def expect(logits: list[Tensor], calibration: Calibration) -> dict:
    """Estimates from the confidence, for one tall map of all images."""
    meter = AccuracyMeter(calibration, height=CROP_PX * len(logits), width=CROP_PX)
    for index, one in enumerate(logits):
        seen = np.ones(one.shape[1:], bool)
        meter.add(one, seen, row0=index * CROP_PX, col0=0, are_logits=True)
    return asdict(meter.estimate())


def change_between(before: list[Tensor], after: list[Tensor]) -> Change:
    """As `measure_change`, but from existing logits."""
    logits = iter([one for pair in zip(before, after, strict=True) for one in pair])
    windows = [(one, torch.ones(one.shape[1:], dtype=torch.bool)) for one in before]
    given = Given(logits)
    return measure_change(given, given, SceneWindows([], windows))


class Given(nn.Module):
    """Returns one given tensor after another, whatever its input."""

    def __init__(self, outputs: Iterator[Tensor]) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, image: Tensor) -> Tensor:  # noqa: ARG002, D102
        return next(self.outputs)[None]


def cut[T: Tensor](image: T) -> T:
    """The middle, at most `CROP_PX` on each side."""
    row, col = (max(side - CROP_PX, 0) // 2 for side in image.shape[-2:])
    return image[..., row : row + CROP_PX, col : col + CROP_PX].contiguous()


def resize_mask(mask: Tensor, factor: float) -> Tensor:
    share = resize(mask[None].float(), factor)[0]
    return (share >= 0.5).long()


def resize(image: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return image
    return F.interpolate(
        image[None], scale_factor=factor, mode='bilinear', antialias=True, align_corners=False
    )[0].clamp(0, 1)


def report(args: argparse.Namespace) -> None:
    lines = (args.output / 'measures.jsonl').read_text().splitlines()
    rows = [row for line in lines if (row := json.loads(line))['norms'] in args.norms]
    report_norms(rows)
    report_estimates(rows)


def report_norms(rows: list[dict]) -> None:
    """Print each pair, and how often the advice was right, for α = 0.5."""
    label = 'norms .5'
    print('| source | scenes | seen at | as it is | α = 0.5 | α = 1 | distance | advice |')
    print('|---' * 8 + '|')
    for row in rows:
        cells = [row['iou'], *(row['methods'][name]['iou'] for name in ('norms .5', 'norms 1'))]
        numbers = ' | '.join(f'{100 * iou:.1f}' for iou in cells)
        said = 'use' if advised(row, label) else 'against'
        mark = '' if advised(row, label) == (gain(row, label) > 0) else ' ✗'
        print(
            f'| {row["source"]} | {row["target"]} | × {row["factor"]:.2g} ({row["seen"]}) | '
            f'{numbers} | {np.mean(row["features"]):.2f} | {said}{mark} |'
        )
    print('\n| sources | maps | advice right | never | always | as advised | best of both |')
    print('|---' * 7 + '|')
    chosen = [row for row in rows if row['source'] in CHOSEN_ON]
    judged = [row for row in rows if row['source'] not in CHOSEN_ON]
    for name, part in (('chosen on', chosen), ('judged on', judged), ('all', rows)):
        if not part:
            continue
        right = sum(advised(row, label) == (gain(row, label) > 0) for row in part)
        gains = np.array([gain(row, label) for row in part])
        uses = np.array([advised(row, label) for row in part])
        never = np.array([row['iou'] for row in part])
        means = (never, never + gains, never + gains * uses, never + gains.clip(min=0))
        cells = ' | '.join(f'{100 * value.mean():.1f}' for value in means)
        print(f'| {name} | {len(part)} | {right} | {cells} |')


def advised(row: dict, label: str) -> bool:
    change = row['methods'][label]['change']
    grows = evenness(change['after']['areas']) > evenness(change['before']['areas'])
    return grows and np.mean(row['features']) >= SMALL_GAP


def gain(row: dict, label: str) -> float:
    return row['methods'][label]['iou'] - row['iou']


def report_estimates(rows: list[dict]) -> None:
    """Print how far estimates of the IoU of roads were from the truth, in points."""
    print('\n| of | maps | estimate | mean error | bias | 90 % are within | rank | in interval |')
    print('|---' * 8 + '|')
    own = [row for row in rows if row['source'] == row['target']]
    other = [row for row in rows if row['source'] != row['target']]
    for name, part in (('the source', own), ('other places', other)):
        true = np.array([row['iou'] for row in part])
        for by in ('confidence', 'atc', 'doc'):
            said = [row['estimate']['iou'][1][by] for row in part]
            value, low, high = (np.array([one[key] for one in said]) for key in SAID)
            wrong = 100 * np.abs(value - true)
            inside = ((low <= true) & (true <= high)).mean()
            print(
                f'| IoU, {name} | {len(part)} | {by} | {wrong.mean():.1f} | '
                f'{100 * (value - true).mean():+.1f} | {np.quantile(wrong, 0.9):.1f} | '
                f'{spearmanr(value, true)[0]:.2f} | {100 * inside:.0f} % |'
            )


TASKS = {'train': train, 'measure': measure, 'report': report}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--output', type=Path, default=Path('adaptation'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--sources', nargs='+', choices=SOURCES, default=SOURCES)
    parser.add_argument('--norms', nargs='+', choices=['training', 'resting'], default=['training'])
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=list(METHODS)[:2])
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings('ignore', category=NotGeoreferencedWarning)
    TASKS[args.task](args)


if __name__ == '__main__':
    main()
