"""Which part of the recipe helps where no label was drawn? Real images, several seeds.

An ImageNet EfficientNet-lite0 under an FPN is trained on one domain and scored there and on unseen
ones (foreground IoU; mIoU on the synthetic Earth), at equal steps, on the same windows:

- `source only`: segmentation alone;
- `mask`: with PatchMask and masked image modelling (L_MIM);
- `style`: with Earth-Style Injection, in styles of AID;
- `full`: both, with L_Δ: the paper's recipe;
- `fourier`: with `FourierStyle` in the place of the style networks, and no masks.

    python performance/evidence.py roads --data ../shared/data --seeds 0 1 2

Tasks: `roads` (Massachusetts to ETH), `roads-back` (ETH to Massachusetts), `buildings` (each of six
sets left out in turn) and `synthetic` (the source of the synthetic Earth to its five gaps).
Finished runs are kept in `--output` and not repeated. `--maps` also maps two real scenes, seen at
the 1 m of Massachusetts, with the models of the runs that are still to do, and checks that the maps
lie where the scenes lie. The images are not part of this library: `--data` needs the folders
`roads`, `buildings`, `georef`, `style_aid150` and `weights`; `synthetic` needs the weights alone.
"""

import argparse
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import kornia.augmentation as K
import lightning.pytorch as pl
import rasterio
import torch
from torch import nn

from crossearth.datasets import FolderDataset, SceneDataset, ShiftDataModule, merge_domains
from crossearth.inference import View, predict_scene
from crossearth.labels import BUILDING, ISPRS, ROAD, LabelSpace, ThresholdCodec
from crossearth.metrics import iou_per_class, mean_iou
from crossearth.models import CrossEarth
from crossearth.models.backbones import TimmPyramid
from crossearth.models.decoders import FPNDecoder, MultiStageASPP
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from crossearth.models.style import light_style_networks
from crossearth.models.weights.pretrained import create_timm
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.trainers import CrossEarthTraining, SourceOnly, TrainingTask, fourier_style
from crossearth.transforms import (
    EarthStyle,
    EarthStyleInjection,
    PatchMask,
    PhotometricDistortion,
    RandomScaleCrop,
    StyleImageFolder,
)

METHODS = ('source only', 'mask', 'style', 'full', 'fourier')
SCENES = {
    'NAIP, North Dakota': 'opengeos__data__m_4709963_se_14_1_20150926.tif',
    'Adelaide, EPSG:4326': 'bao18__open_earth_map__adelaide_2.tif',
}
CROP_PX = 256
BATCH = 4


@dataclass(frozen=True)
class Split:
    """A domain to learn from, and the domains to score."""

    name: str
    train: SceneDataset
    source_test: SceneDataset | None
    unseen: dict[str, SceneDataset]
    styles: Path


def folder(path: Path, labels: LabelSpace) -> FolderDataset:
    codec = ThresholdCodec()
    return FolderDataset(path / 'images', path / 'masks', labels=labels, codec=codec)


def gather(parts: list[SceneDataset]) -> SceneDataset:
    scenes = [scene for part in parts for scene in part.scenes]
    return SceneDataset(scenes, parts[0].labels, codec=parts[0].codec)


def roads(data: Path, *, back: bool) -> Iterator[Split]:
    places = data / 'roads'
    eth = folder(places / 'eth_cil2022', ROAD)
    parts = {
        'massachusetts': (
            folder(places / 'massachusetts' / 'train', ROAD),
            gather([folder(places / 'massachusetts' / name, ROAD) for name in ('val', 'test')]),
        ),
        'eth': tuple(
            SceneDataset(scenes, ROAD, codec=ThresholdCodec())
            for scenes in (eth.scenes[:100], eth.scenes[100:])
        ),
    }
    source, other = ('eth', 'massachusetts') if back else ('massachusetts', 'eth')
    (train, test), unseen = parts[source], parts[other][1] if back else eth
    yield Split(source, train, test, {other: unseen}, data / 'style_aid150')


def buildings(data: Path) -> Iterator[Split]:
    places = data / 'buildings'
    names = ('inria_256', 'whu_global_cities', 'whu_east_asia', 'nzlnd', 'spacenet', 'crowdai')
    inria = [folder(places / 'inria_256' / part, BUILDING) for part in ('train', 'val', 'test')]
    sets: dict[str, SceneDataset] = {'inria_256': gather(inria)}
    sets |= {name: folder(places / name, BUILDING) for name in names[1:]}
    for out in names:
        others = {name: dataset for name, dataset in sets.items() if name != out}
        train = merge_domains(others, weights=dict.fromkeys(others, 1.0))
        yield Split(f'all but {out}', train, None, {out: sets[out]}, data / 'style_aid150')


def synthetic(output: Path) -> Iterator[Split]:
    earth = SyntheticEarth(0)
    root = output / 'earth'
    unseen = {}
    for name, domain in EARTH_DOMAINS.items():
        place = root / name
        if not (place / 'test').exists():
            earth.write(root, domain, scenes=2, size_px=768, split='test', start=100)
        unseen[name] = FolderDataset(
            place / 'test' / 'images', place / 'test' / 'masks', labels=ISPRS, domain=name
        )
    if not (root / 'source' / 'train').exists():
        earth.write(root, EARTH_DOMAINS['source'], scenes=8, size_px=1024)
    if not (root / 'style').exists():
        earth.write_style(root / 'style', images=128, size_px=256)
    place = root / 'source' / 'train'
    train = FolderDataset(place / 'images', place / 'masks', labels=ISPRS, domain='source')
    yield Split('source', train, unseen.pop('source'), unseen, root / 'style')


def build(data: Path, num_classes: int, *, restores: bool, rest_norms: bool) -> CrossEarth:
    (weights,) = (data / 'weights' / 'backbone').glob('*')
    encoder = TimmPyramid(create_timm('tf_efficientnet_lite0', pretrained=str(weights)))
    if rest_norms:  # statistics of ImageNet: masked and styled images do not move them
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.requires_grad_(False)
    return CrossEarth(
        encoder,
        FPNDecoder(encoder.channels, num_classes, width=64),
        MultiStageASPP(encoder.channels, width=64) if restores else None,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def injection(args: argparse.Namespace, styles: Path, draws: torch.Generator) -> nn.Module:
    weights = args.data / 'weights' / 'style'
    networks = light_style_networks(
        weights / 'arbitrary_predict.onnx', weights / 'arbitrary_transform.onnx'
    )
    fitted = args.output / f'{styles.name}.safetensors'
    if not fitted.exists():
        EarthStyle.fit(StyleImageFolder(styles), networks.predictor).save(fitted)
    return EarthStyleInjection(
        EarthStyle.load(fitted),
        *networks,
        patch_size=args.style_patch,
        ratio=args.style_ratio,
        alpha=args.alpha,
        p=args.p,
        generator=draws,
    )


def augmentations(kind: str, seed: int) -> list[nn.Module]:
    if kind == 'flips':
        return [K.RandomHorizontalFlip(), K.RandomVerticalFlip()]
    draws = torch.Generator().manual_seed(seed)
    return [
        RandomScaleCrop(CROP_PX, generator=draws),
        K.RandomHorizontalFlip(),
        PhotometricDistortion(generator=draws),
    ]


def train(args: argparse.Namespace, split: Split, method: str, seed: int) -> dict[str, object]:
    """Scores of the last step by domain, and seconds a step."""
    pl.seed_everything(seed, verbose=False)
    draws = torch.Generator().manual_seed(seed)
    smallest = min(min(s.height, s.width) for d in split.unseen.values() for s in d.scenes)
    batches = ShiftDataModule(
        split.train,
        source_test=split.source_test,
        unseen=split.unseen,
        size_px=CROP_PX,
        test_size_px=min(smallest, args.test_px),
        windows_per_epoch=args.steps * BATCH,
        batch_size=BATCH,
        augment=augmentations(args.augment, seed),
        seed=seed,
    )
    style: nn.Module | None = None
    if method in {'style', 'full'}:
        style = injection(args, split.styles, draws)
    elif method == 'fourier':
        style = fourier_style(split.styles, p=args.p, beta=0.01, seed=seed)
    mask = None
    if method in {'mask', 'full'}:
        prompt = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
        generator = torch.Generator().manual_seed(seed)
        mask = PatchMask(args.mask_patch, args.mask_ratio, prompt=prompt, generator=generator)
    labels = split.train.labels
    model = build(
        args.data,
        labels.num_classes,
        restores=mask is not None,
        rest_norms=args.norms == 'resting',
    )
    training = (
        SourceOnly(model, labels, style=style)
        if mask is None
        else CrossEarthTraining(
            model,
            labels,
            mask=mask,
            style=style,
            mim_weight=args.mim_weight,
            delta_weight=args.mim_weight,
        )
    )
    task = TrainingTask(training, lr=5e-4)
    trainer = pl.Trainer(
        accelerator='auto',
        max_steps=args.steps,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    start = time.perf_counter()
    trainer.fit(task, datamodule=batches)
    pace = (time.perf_counter() - start) / args.steps
    trainer.test(task, datamodule=batches, verbose=False)
    if args.maps is not None:
        name = f'{split.name}-{method}-{seed}'.replace(' ', '_')
        map_scenes(task, args.data / 'georef', args.maps / name)
    scores = {
        name: float(mean_iou(matrix) if labels.scored is None else iou_per_class(matrix)[1])
        for name, matrix in task.confusion.items()
    }
    return {'split': split.name, 'method': method, 'seed': seed, 's_per_step': pace, **scores}


def map_scenes(task: TrainingTask, scenes: Path, output: Path) -> None:
    """Maps of two real scenes, in place; what they say is printed."""
    output.mkdir(parents=True, exist_ok=True)
    for name, file in SCENES.items():
        target = output / file
        made = predict_scene(
            task.model,
            scenes / file,
            target,
            view=View(gsd_m=1.0, bands=(1, 2, 3)),
            labels=task.labels,
        )
        with rasterio.open(scenes / file) as source, rasterio.open(target) as result:
            for what in ('crs', 'transform', 'shape'):
                if getattr(source, what) != getattr(result, what):
                    raise SystemExit(f'{target}: its {what} is not that of the scene')
            ids = result.read(1)
        share = (ids == 1).sum() / max((ids != 255).sum(), 1)
        print(
            f'{target}: {name}, {made.height} x {made.width} px, {made.windows} windows, CRS and '
            f'transform equal; {100 * share:.1f} % of pixels are {task.labels.classes[1]}'
        )


TASKS: dict[str, Callable[[argparse.Namespace], Iterator[Split]]] = {
    'roads': lambda args: roads(args.data, back=False),
    'roads-back': lambda args: roads(args.data, back=True),
    'buildings': lambda args: buildings(args.data),
    'synthetic': lambda args: synthetic(args.output),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('task', choices=TASKS)
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--output', type=Path, default=Path('evidence'))
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=METHODS)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--augment', choices=['flips', 'paper'], default='flips')
    parser.add_argument('--norms', choices=['training', 'resting'], default='training')
    parser.add_argument('--p', type=float, default=0.5, help='share of styled samples')
    parser.add_argument('--alpha', type=float, default=1.0, help='weight of the drawn style')
    parser.add_argument('--style-patch', type=int, help='side of styled patches; whole by default')
    parser.add_argument('--style-ratio', type=float, default=1.0, help='fraction of styled patches')
    parser.add_argument('--mask-patch', type=int, default=32)
    parser.add_argument('--mask-ratio', type=float, default=0.5)
    parser.add_argument('--mim-weight', type=float, default=0.1, help='of L_MIM and L_Δ')
    parser.add_argument('--test-px', type=int, default=400)
    parser.add_argument('--maps', type=Path, help='folder to write maps of two real scenes to')
    args = parser.parse_args()
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore')
    args.output.mkdir(parents=True, exist_ok=True)

    apart = {'data', 'output', 'seeds', 'methods', 'maps'}
    settings = {name: value for name, value in vars(args).items() if name not in apart}
    known = args.output / 'runs.jsonl'
    done = [json.loads(line) for line in known.read_text().splitlines()] if known.exists() else []
    rows = []
    for split in TASKS[args.task](args):
        for seed in args.seeds:
            for method in args.methods:
                key = {'split': split.name, 'method': method, 'seed': seed, 'settings': settings}
                row = next((r for r in done if key.items() <= r.items()), None)
                if row is None:
                    row = {**train(args, split, method, seed), 'settings': settings}
                    with known.open('a') as file:
                        file.write(json.dumps(row) + '\n')
                rows.append(row)
                print(json.dumps({k: v for k, v in row.items() if k != 'settings'}), flush=True)
    print(
        f'\n{args.task}, {args.steps} steps of {BATCH} x {CROP_PX}², seeds {args.seeds}, IoU in %'
    )
    print(f'torch {torch.__version__}, {torch.get_num_threads()} threads; {settings}')
    report(rows)


def report(rows: list[dict[str, object]]) -> None:
    """A table a split: mean ± standard deviation over seeds."""
    fixed = {'split', 'method', 'seed', 's_per_step', 'settings'}
    for split in dict.fromkeys(row['split'] for row in rows):
        own = [row for row in rows if row['split'] == split]
        domains = [name for name in own[0] if name not in fixed]
        unseen = [name for name in domains if name != 'source']
        extra = ['mean of unseen'] if len(unseen) > 1 else []
        print(f'\n| {split} | ' + ' | '.join([*domains, *extra, 's a step']) + ' |')
        print('|---' * (len(domains) + len(extra) + 2) + '|')
        for method in dict.fromkeys(row['method'] for row in own):
            runs = [row for row in own if row['method'] == method]
            columns = [[float(str(run[name])) for run in runs] for name in domains]
            if extra:
                columns.append(
                    [statistics.mean(v) for v in zip(*columns[-len(unseen) :], strict=True)]
                )
            cells = [spread([100 * value for value in column]) for column in columns]
            pace = statistics.median(float(str(run['s_per_step'])) for run in runs)
            print(f'| {method} | ' + ' | '.join(cells) + f' | {pace:.2f} |')


def spread(values: list[float]) -> str:
    if len(values) < 2:
        return f'{values[0]:.1f}'
    return f'{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}'


if __name__ == '__main__':
    main()
