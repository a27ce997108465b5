"""The whole story on generated data: draw, train, compare on unseen domains, map a scene."""

import csv
import logging
import os
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import lightning.pytorch as pl
import numpy as np
from jaxtyping import UInt8
from torch import nn
from tqdm import tqdm

from crossearth.columns import align_columns
from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError
from crossearth.inference import Running, Windows, predict_scene
from crossearth.labels import ISPRS
from crossearth.metrics import mean_iou
from crossearth.models import Segmenter, fpn_timm, save_model
from crossearth.rasters import open_raster
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth
from crossearth.trainers import SourceOnly, TrainingTask, fourier_style
from crossearth.transforms import FourierStyle
from crossearth.visualization import draw_panels, save_figure

__all__ = ['DemoResult', 'run_demo']

MAPPED = 'region_climate'
"""The unseen domain that is mapped and pictured; chosen beforehand."""


@dataclass(frozen=True, slots=True)
class _Size:
    """How much is drawn and how long is trained."""

    train_scenes: int
    train_px: int
    test_scenes: int
    test_px: int
    styles: int
    steps: int
    map_hw: tuple[int, int]


_FULL = _Size(8, 1024, 2, 768, 64, 1000, (4200, 4500))
_QUICK = _Size(3, 512, 1, 384, 24, 40, (1100, 1000))
_WINDOW_PX = 256
_CROP_PX = 128
_BATCH = 8
_FIRST_TEST_SCENE = 100
_MARK = 'crossearth-demo.txt'
_MAP_SCENE = 200


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo found and where it wrote it.

    Args:
        scores: Method → domain → mIoU in [0, 1]; synthetic.
        output: Folder of everything.
        map: Map of the large unseen scene.
        picture: Image, truth, baseline and ours.
        table: Scores as CSV.
    """

    scores: Mapping[str, Mapping[str, float]]
    output: Path
    map: Path
    picture: Path
    table: Path


def run_demo(
    output: str | os.PathLike[str] = 'crossearth-demo',
    *,
    quick: bool = False,
    seed: int = 0,
    say: Callable[[str], Any] = lambda _: None,
) -> DemoResult:
    """Draw the synthetic Earth, train twice, compare on unseen domains, map one of them.

    Both models start from the same weights and see the same windows in the same order for the same
    number of steps. The baseline sees them as they are; ours sees some of them in the styles of
    an unlabelled atlas of other places (`FourierStyle`).

    Numbers are synthetic: they show that the parts work together, not how good they are on real
    imagery.

    Args:
        output: Folder for scenes, weights, maps and the table; new, empty, or that of an earlier
            demo, whose files are replaced.
        quick: A minute instead of five, with models that have hardly learnt anything.
        seed: Seed of the Earth, the weights and the draws; the same seed gives the same numbers on
            the same machine.
        say: Called with each line of the report.

    Returns:
        Scores and paths.

    Raises:
        ConfigError: If `output` is a file, or a folder that holds something else than a demo.
    """
    began = time.perf_counter()
    size = _QUICK if quick else _FULL
    root = Path(output)
    _clear(root)
    say('Drawing the synthetic Earth (made-up places; every number below is synthetic)')
    large = _draw(root, size, seed)
    style = fourier_style(root / 'style', p=0.3, beta=0.01, alpha_range=(0.0, 0.6), seed=seed)
    methods: dict[str, FourierStyle | None] = {'baseline': None, 'ours': style}
    tasks: dict[str, TrainingTask] = {}
    for name, given in methods.items():
        data = _data(root, size, seed)
        tasks[name] = _train(name, data, size, seed, style=given)
    scores = {
        name: {domain: mean_iou(matrix) for domain, matrix in task.confusion.items()}
        for name, task in tasks.items()
    }
    for name, task in tasks.items():
        assert isinstance(task.model, Segmenter)
        save_model(task.model, root / f'{name}.safetensors', labels=ISPRS)
    table = root / 'scores.csv'
    _write_table(table, scores)
    say(_format_table(scores))

    say(f'Mapping a whole scene of {MAPPED} ({size.map_hw[0]} x {size.map_hw[1]} px)')
    whole = root / 'maps' / f'{large.stem}_map.tif'
    whole.parent.mkdir(parents=True, exist_ok=True)
    model = tasks['ours'].model
    predict_scene(
        model,
        large,
        whole,
        windows=Windows(tile_px=512, overlap=1 / 8),
        running=Running(batch_size=1),
        labels=ISPRS,
        progress=True,
    )
    picture = root / 'picture.png'
    _draw_picture(root, {name: task.model for name, task in tasks.items()}, picture)
    say(
        f'\nEverything lies in {root.resolve()}:\n'
        f'  {picture.name:<24} image, truth, baseline and ours, of a place neither has seen\n'
        f'  {whole.relative_to(root)!s:<24} the map: open it in a GIS over {large.name}\n'
        f'  {table.name:<24} the table above\n'
        f'  {"ours.safetensors":<24} the model, with its label space\n'
        f'  {"<domain>/<split>/":<24} the scenes and their masks\n'
        f'Took {time.perf_counter() - began:.0f} s.'
    )
    return DemoResult(scores, root, whole, picture, table)


def _clear(root: Path) -> None:
    """An empty folder, marked as the demo's; what an earlier demo left is removed."""
    if root.exists() and not root.is_dir():
        raise ConfigError(f'{root} is a file: choose a folder for the output of the demo')
    mark = root / _MARK
    if root.exists() and any(root.iterdir()) and not mark.exists():
        raise ConfigError(
            f'{root} holds files that are not of a demo: choose an empty folder for its output'
        )
    for name in (*EARTH_DOMAINS, 'style', 'maps'):
        shutil.rmtree(root / name, ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)
    mark.write_text('Made by crossearth demo, which replaces its files in this folder.\n')


def _draw(root: Path, size: _Size, seed: int) -> Path:
    """Write every scene; the large one is returned."""
    earth = SyntheticEarth(seed)
    total = size.train_scenes + size.test_scenes * len(EARTH_DOMAINS) + 2
    with tqdm(total=total, desc='scenes', unit='scene') as bar:
        earth.write(
            root,
            EARTH_DOMAINS['source'],
            scenes=size.train_scenes,
            size_px=size.train_px,
            progress=lambda _: bar.update(),
        )
        for domain in EARTH_DOMAINS.values():
            earth.write(
                root,
                domain,
                scenes=size.test_scenes,
                size_px=size.test_px,
                split='test',
                start=_FIRST_TEST_SCENE,
                progress=lambda _: bar.update(),
            )
        ((large, _),) = earth.write(
            root,
            EARTH_DOMAINS[MAPPED],
            scenes=1,
            size_px=size.map_hw,
            split='map',
            start=_MAP_SCENE,
            progress=lambda _: bar.update(),
        )
        earth.write_style(root / 'style', images=size.styles, size_px=_CROP_PX)
        bar.update()
    return large


def _folder(root: Path, domain: str, split: str) -> FolderDataset:
    place = root / domain / split
    return FolderDataset(place / 'images', place / 'masks', labels=ISPRS, domain=domain)


def _data(root: Path, size: _Size, seed: int) -> ShiftDataModule:
    augment = [
        # half to twice the scale, as in the paper's training: the side of the crop is 64 to 256 px
        K.RandomResizedCrop((_CROP_PX, _CROP_PX), scale=(1 / 16, 1.0), ratio=(1.0, 1.0)),
        K.RandomHorizontalFlip(),
        K.RandomVerticalFlip(),
    ]
    return ShiftDataModule(
        _folder(root, 'source', 'train'),
        source_test=_folder(root, 'source', 'test'),
        unseen={name: _folder(root, name, 'test') for name in EARTH_DOMAINS if name != 'source'},
        size_px=_WINDOW_PX,
        test_size_px=min(size.test_px, 384),
        windows_per_epoch=size.steps * _BATCH,
        batch_size=_BATCH,
        augment=K.AugmentationSequential(*augment, data_keys=None),
        seed=seed,
    )


def _train(
    name: str,
    data: ShiftDataModule,
    size: _Size,
    seed: int,
    *,
    style: FourierStyle | None,
) -> TrainingTask:
    """Train from the same start, and count every domain."""
    pl.seed_everything(seed, verbose=False)
    model = fpn_timm('mobilenetv3_small_100', num_classes=ISPRS.num_classes, width=48)
    task = TrainingTask(SourceOnly(model, ISPRS, style=style), lr=2e-3)
    with _quiet():
        trainer = pl.Trainer(
            accelerator='cpu',
            max_steps=size.steps,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            use_distributed_sampler=False,
            callbacks=[_Steps(name, size.steps)],
        )
        trainer.fit(task, datamodule=data)
        trainer.test(task, datamodule=data, verbose=False)
    return task


class _Steps(pl.Callback):
    """One bar for the steps of a training."""

    def __init__(self, name: str, steps: int) -> None:
        self.bar = tqdm(total=steps, desc=f'training {name}', unit='step')

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,  # noqa: ARG002  # lightning's signature
        pl_module: pl.LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        self.bar.set_postfix(loss=f'{float(outputs["loss"]):.2f}', refresh=False)
        self.bar.update()

    def teardown(
        self,
        trainer: pl.Trainer,  # noqa: ARG002
        pl_module: pl.LightningModule,  # noqa: ARG002
        stage: str,  # noqa: ARG002
    ) -> None:
        self.bar.close()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without lightning's notices, which are about settings that the demo chooses on purpose."""
    logger = logging.getLogger('lightning.pytorch')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='.*does not have many workers')
            warnings.filterwarnings('ignore', message='.*GPU available but not used')
            warnings.filterwarnings('ignore', message='Total length of .list. across ranks')
            warnings.filterwarnings('ignore', message='.*LeafSpec')  # lightning's use of torch
            yield
    finally:
        logger.setLevel(level)


def _columns(scores: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows: IoU in percent of the source, each unseen domain, and the unseen mean."""
    domains = list(next(iter(scores.values())))
    unseen = [domain for domain in domains if domain != 'source']
    rows = [
        [name]
        + [f'{100 * row[domain]:.1f}' for domain in domains]
        + [f'{100 * sum(row[domain] for domain in unseen) / len(unseen):.1f}']
        for name, row in scores.items()
    ]
    return ['method', *domains, 'mean of unseen'], rows


def _format_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    head, rows = _columns(scores)
    title = 'mIoU in %, SYNTHETIC scenes: what the parts do, not how good they are on real imagery'
    first, *others = align_columns([head, *rows]).splitlines()
    return '\n'.join(['', title, first, '-' * len(first), *others, ''])


def _write_table(path: Path, scores: Mapping[str, Mapping[str, float]]) -> None:
    head, rows = _columns(scores)
    beside = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        with beside.open('w', newline='') as file:
            writer = csv.writer(file)
            writer.writerow(['data', *head])
            writer.writerows(['synthetic', *row] for row in rows)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _draw_picture(root: Path, models: Mapping[str, nn.Module], path: Path) -> None:
    """Image, truth and each model's map of a test scene of the mapped domain."""
    scene = _folder(root, MAPPED, 'test').scenes[0]
    assert scene.mask is not None
    maps = {'truth': _read(scene.mask)[0]}
    for name, model in models.items():
        target = root / 'maps' / f'{Path(scene.image).stem}_{name}.tif'
        predict_scene(
            model,
            scene.image,
            target,
            windows=Windows(overlap=1 / 8),
            running=Running(batch_size=1),
            labels=ISPRS,
        )
        maps[name] = _read(target)[0]
    title = f'Synthetic scene of the unseen domain {MAPPED}'
    save_figure(draw_panels(_read(scene.image), maps, ISPRS, title=title), path)


def _read(path: str | Path) -> UInt8[np.ndarray, 'c h w']:
    with open_raster(path) as source:
        pixels: UInt8[np.ndarray, 'c h w'] = source.read()
    return pixels
