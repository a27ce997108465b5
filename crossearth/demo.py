"""The whole workflow on generated data: draw, train, compare on unseen domains, map a scene.

Everything is scored the way a user would map it: `predict_scene` writes a map of each test scene on
the scene's own pixels, and the map is compared with the mask.
"""

import csv
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn
from tqdm.auto import tqdm

from crossearth.columns import align_columns
from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError
from crossearth.inference import Running, View, Windows, predict_scene
from crossearth.labels import ISPRS
from crossearth.metrics import confusion_matrix, mean_iou
from crossearth.models import Segmenter, adapted_fpn, fpn_timm, load_model, save_model
from crossearth.models.weights.installed import INSTALLED
from crossearth.rasters import open_raster
from crossearth.synthetic import EARTH_DOMAINS, EarthDomain, SyntheticEarth
from crossearth.trainers import SourceOnly, TrainingTask, fourier_style
from crossearth.trainers.notices import hushed
from crossearth.transforms import PhotometricDistortion
from crossearth.visualization import draw_panels, save_figure

__all__ = ['BASELINE', 'OURS', 'RIGHT_GSD', 'DemoResult', 'run_demo']

BASELINE = 'baseline'
RIGHT_GSD = 'baseline, right GSD'
OURS = 'ours'
MAPPED = 'region_climate'
"""The unseen domain of the large map; chosen before any result was known."""
PICTURED = 'region_drone'
"""The unseen domain of the picture: one whose pixels differ in size from the source's."""


@dataclass(frozen=True, slots=True)
class _Size:
    """How much is drawn and how long the models train."""

    train_scenes: int
    train_px: int
    test_scenes: int
    test_px: int
    styles: int
    steps: int
    map_hw: tuple[int, int]


_FULL = _Size(8, 1024, 2, 768, 64, 800, (4200, 4500))
_QUICK = _Size(3, 512, 1, 384, 24, 40, (1100, 1000))
_BACKBONE = 'tf_efficientnet_lite0'
_WIDTH = 48  # of the decoder
_WINDOW_PX = 128
_BATCH = 8
_FIRST_TEST_SCENE = 100
_MARK = 'crossearth-demo.txt'
_TABLE = 'scores.csv'
_PICTURE = 'picture.png'
_MAP_SCENE = 200


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo found and where it wrote it.

    Args:
        scores: Method → domain → mIoU in [0, 1], on the scenes' own pixels; synthetic.
        output: Folder that holds everything.
        map: Map of the large unseen scene.
        picture: Image, ground truth and the methods' maps of an unseen place.
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
    """Draw the synthetic Earth, train two models, compare them on unseen domains, and map a scene.

    Both models begin with ImageNet's weights and the same decoder, and see the same windows with
    the same flips for the same number of steps. The table compares three rows:

    - the baseline, which sees every scene on the scene's own pixels, as networks usually do;
    - the same weights, with every scene seen at the ground sampling distance of training, which is
      what `crossearth predict` does with georeferenced scenes;
    - ours, seen at that distance too, and trained with what `docs/evidence.md` recommends when the
      pixel size is known, see `recommended_recipe`.

    The numbers are synthetic: they show that the parts work together, not how good they are on real
    imagery.

    Args:
        output: Folder for scenes, weights, maps and the table. It must be new, empty, or from an
            earlier demo, whose files are replaced.
        quick: Train for a few steps on fewer scenes. The models then have barely learnt anything.
        seed: Seed of the Earth, the weights and the draws; the same seed gives the same numbers on
            the same machine.
        say: Called with each line of the report.

    Returns:
        Scores and paths.

    Raises:
        ConfigError: If `output` is a file, or a folder that holds anything but an earlier demo.
    """
    began = time.perf_counter()
    size = _QUICK if quick else _FULL
    root = Path(output)
    _clear(root)
    say('Drawing the synthetic Earth (invented places; every number below is synthetic)')
    large = _draw(root, size, seed)
    recipes = {BASELINE: plain_recipe, OURS: recommended_recipe}
    models = {}
    for name, recipe in recipes.items():
        say(f'Training {name}: {size.steps} steps')
        pl.seed_everything(seed, verbose=False)
        models[name] = _train(name, root, recipe(root / 'style'), size, seed)
    say('Mapping the test scenes of every domain, each on its own pixels')
    scores = _score_all(root, models)
    table = root / _TABLE
    _write_table(table, scores)
    say(_format_table(scores))

    say(f'Mapping a whole scene of {MAPPED} ({size.map_hw[0]} x {size.map_hw[1]} px)')
    whole = root / 'maps' / f'{large.stem}_map.tif'
    _map(models[OURS], large, whole, View(), progress=sys.stderr.isatty())
    picture = root / _PICTURE
    _draw_picture(root, picture)
    say(
        f'\nEverything is in {root.resolve()}:\n'
        f'  {picture.name:<31} image, truth, baseline and ours, of a place that neither has seen\n'
        f'  {whole.relative_to(root)!s:<31} the map: open it in a GIS over {large.name}\n'
        f'  {table.name:<31} the table above\n'
        f'  {"ours.safetensors":<31} the model, with its classes and its ground sampling distance\n'
        f'  {"<domain>/<split>/":<31} the scenes and their masks\n'
        f'Took {time.perf_counter() - began:.0f} s.'
    )
    return DemoResult(scores, root, whole, picture, table)


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What two training runs differ in."""

    model: Segmenter
    augment: list[nn.Module]
    lr: float


def plain_recipe(style_images: Path) -> _Recipe:  # noqa: ARG001  # both recipes are called alike
    """All weights are trained, on flipped images. Batch norms keep ImageNet's averages."""
    model = fpn_timm(
        _BACKBONE,
        num_classes=ISPRS.num_classes,
        width=_WIDTH,
        pretrained=INSTALLED,
        norms='resting',
    )
    return _Recipe(model, [], lr=2e-3)


def recommended_recipe(style_images: Path) -> _Recipe:
    """What is recommended on real images, at its defaults, whatever it does here.

    Low-rank changes of frozen weights instead of all weights, other light and colours, and the low
    frequencies of unlabelled images. Nothing here was chosen on the synthetic Earth. The decoder
    begins with the weights that the plain recipe's has.
    """
    plain = plain_recipe(style_images).model
    model = adapted_fpn(
        _BACKBONE, 'lora', num_classes=ISPRS.num_classes, width=_WIDTH, pretrained=INSTALLED
    )
    model.decoder.load_state_dict(plain.decoder.state_dict())
    return _Recipe(
        model, [PhotometricDistortion(), fourier_style(style_images, p=0.5, beta=0.01)], lr=3e-3
    )


def _clear(root: Path) -> None:
    """Make an empty folder, marked as the demo's, and remove what an earlier demo left in it."""
    if root.exists() and not root.is_dir():
        raise ConfigError(f'{root} is a file: choose a folder for the output of the demo')
    mark = root / _MARK
    if root.exists() and any(root.iterdir()) and not mark.exists():
        raise ConfigError(
            f'{root} holds files that are not from a demo: choose an empty folder for the output'
        )
    for name in (*EARTH_DOMAINS, 'style', 'maps'):
        if (root / name).exists():
            shutil.rmtree(root / name)
    for name in (_TABLE, _PICTURE, *(f'{method}.safetensors' for method in (BASELINE, OURS))):
        (root / name).unlink(missing_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    mark.write_text('Made by crossearth demo, which replaces its files in this folder.\n')


def _draw(root: Path, size: _Size, seed: int) -> Path:
    """Write every scene and return the path of the large one."""
    earth = SyntheticEarth(seed)
    total = size.train_scenes + size.test_scenes * len(EARTH_DOMAINS) + 2
    with tqdm(total=total, desc='scenes', unit='scene', disable=None) as bar:

        def write(domain: EarthDomain, split: str, **where: Any) -> list[tuple[Path, Path]]:
            return earth.write(root, domain, split=split, progress=lambda _: bar.update(), **where)

        source = EARTH_DOMAINS['source']
        write(source, 'train', scenes=size.train_scenes, size_px=size.train_px)
        for domain in EARTH_DOMAINS.values():
            # coarser scenes cover more ground; finer ones are drawn larger to cover as much
            finer = max(_gsd_m(source) / _gsd_m(domain), 0.5)
            write(
                domain,
                'test',
                scenes=size.test_scenes,
                size_px=int(size.test_px * finer),
                start=_FIRST_TEST_SCENE,
            )
        ((large, _),) = write(
            EARTH_DOMAINS[MAPPED], 'map', scenes=1, size_px=size.map_hw, start=_MAP_SCENE
        )
        earth.write_style(root / 'style', images=size.styles, size_px=_WINDOW_PX)
        bar.update()
    return large


def _gsd_m(domain: EarthDomain) -> float:
    return float(SyntheticEarth().transform(domain, 0).a)


def _folder(root: Path, domain: str, split: str) -> FolderDataset:
    place = root / domain / split
    return FolderDataset(place / 'images', place / 'masks', labels=ISPRS, domain=domain)


def _train(name: str, root: Path, recipe: _Recipe, size: _Size, seed: int) -> nn.Module:
    """Train on the source, save, and load the model again, so that it knows its pixel size."""
    data = ShiftDataModule(
        _folder(root, 'source', 'train'),
        size_px=_WINDOW_PX,
        windows_per_epoch=size.steps * _BATCH,
        batch_size=_BATCH,
        augment=[K.RandomHorizontalFlip(), K.RandomVerticalFlip(), *recipe.augment],
        seed=seed,
    )
    model = recipe.model
    model.to(memory_format=torch.channels_last)  # a third faster on CPUs
    with hushed():
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
        _fit(trainer, TrainingTask(SourceOnly(model, ISPRS), lr=recipe.lr), data)
    path = root / f'{name}.safetensors'
    save_model(model, path, labels=ISPRS, bands=data.bands, gsd_m=data.gsd_m)
    return load_model(path)


def _fit(trainer: pl.Trainer, task: TrainingTask, data: ShiftDataModule) -> None:
    """Train; pass Ctrl-C on to the caller, where lightning would end the process silently."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(task, datamodule=data)
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)  # lightning leaves it ignored
        raise KeyboardInterrupt from None


class _Steps(pl.Callback):
    """One progress bar for the steps of a training run, shown on terminals only."""

    def __init__(self, name: str, steps: int) -> None:
        self.bar = tqdm(total=steps, desc=f'training {name}', unit='step', disable=None)

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


def _score_all(root: Path, models: Mapping[str, nn.Module]) -> dict[str, dict[str, float]]:
    """Method → domain → mIoU. Domains that share the source's pixel size are mapped once."""
    scores: dict[str, dict[str, float]] = {BASELINE: {}, RIGHT_GSD: {}, OURS: {}}
    learnt = _gsd_m(EARTH_DOMAINS['source'])
    rows = tqdm(total=2 * len(EARTH_DOMAINS), desc='scoring', unit='domain', disable=None)
    with rows as bar:
        for name, domain in EARTH_DOMAINS.items():
            plain = _score(root, models[BASELINE], BASELINE, name, View(gsd_m='native'))
            scores[BASELINE][name] = scores[RIGHT_GSD][name] = plain
            if _gsd_m(domain) != learnt:
                scores[RIGHT_GSD][name] = _score(root, models[BASELINE], RIGHT_GSD, name, View())
            bar.update()
            scores[OURS][name] = _score(root, models[OURS], OURS, name, View())
            bar.update()
    return scores


def _score(root: Path, model: nn.Module, method: str, domain: str, view: View) -> float:
    """Mean IoU in [0, 1] of the maps of a domain's test scenes, on the scenes' own pixels."""
    counts: Int64[Tensor, 'k k'] = torch.zeros(
        ISPRS.num_classes, ISPRS.num_classes, dtype=torch.int64
    )
    for scene in _folder(root, domain, 'test').scenes:
        assert scene.mask is not None
        made = _map_path(root, Path(scene.image), method)
        _map(model, Path(scene.image), made, view)
        counts += _count(_read(made)[0], _read(scene.mask)[0])
    return mean_iou(counts)


def _count(made: UInt8[np.ndarray, 'h w'], truth: UInt8[np.ndarray, 'h w']) -> Int64[Tensor, 'k k']:
    ids = (torch.from_numpy(values).long() for values in (made, truth))
    return confusion_matrix(*ids, num_classes=ISPRS.num_classes)


def _map(model: nn.Module, scene: Path, made: Path, view: View, *, progress: bool = False) -> None:
    made.parent.mkdir(parents=True, exist_ok=True)
    windows, running = Windows(tile_px=512, overlap=1 / 8), Running(batch_size=1)
    predict_scene(
        model, scene, made, windows=windows, running=running, view=view, progress=progress
    )


def _map_path(root: Path, scene: Path, method: str) -> Path:
    return root / 'maps' / f'{scene.stem}_{method.replace(", ", "_").replace(" ", "_")}.tif'


def _columns(scores: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: mIoU in percent on the source, each unseen domain, and the unseen mean.

    The last rows are differences, in percentage points.
    """
    domains = list(EARTH_DOMAINS)
    values = {
        name: [100 * row[domain] for domain in domains]
        + [100 * sum(row[domain] for domain in domains[1:]) / len(domains[1:])]
        for name, row in scores.items()
    }
    rows = [[name, *(f'{value:.1f}' for value in row)] for name, row in values.items()]
    for name, other in ((RIGHT_GSD, BASELINE), (OURS, BASELINE), (OURS, RIGHT_GSD)):
        pairs = zip(values[name], values[other], strict=True)
        rows.append([f'{name} - {other}', *(f'{mine - plain:+.1f}' for mine, plain in pairs)])
    return ['method', *domains, 'mean of unseen'], rows


def _format_table(scores: Mapping[str, Mapping[str, float]]) -> str:
    head, rows = _columns(scores)
    first, *others = align_columns([head, *rows]).splitlines()
    lines = [
        '',
        'mIoU in %, SYNTHETIC scenes: what the parts do, not how good they are on real imagery',
        first,
        '-' * len(first),
        *others,
        '',
        "Both models begin with ImageNet's weights and the same decoder. They see the same windows",
        'of the source at 0.25 m and the same flips, for the same number of steps. The baseline',
        'trains all weights, and sees every scene in its own pixels. "right GSD" are the same',
        'weights, with each scene seen at 0.25 m and its map brought back to its own pixels. Only',
        'region_platform (1 m) and region_drone (0.12 m) have others. Ours sees scenes so too. It',
        'freezes the network, changes it by LoRA, and is trained with PhotometricDistortion and',
        'FourierStyle (unlabelled images of other places). docs/evidence.md has real images.',
        '',
    ]
    return '\n'.join(lines)


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


def _draw_picture(root: Path, path: Path) -> None:
    """Draw image, truth, and each method's map and score for one test scene of `PICTURED`."""
    scene = _folder(root, PICTURED, 'test').scenes[0]
    assert scene.mask is not None
    truth = _read(scene.mask)[0]
    maps = {'truth': truth}
    for method in (BASELINE, RIGHT_GSD, OURS):
        made = _read(_map_path(root, Path(scene.image), method))[0]
        maps[f'{method}: {100 * mean_iou(_count(made, truth)):.1f}'] = made
    title = f'Synthetic scene of the unseen domain {PICTURED}; mIoU of this scene in %'
    save_figure(draw_panels(_read(scene.image), maps, ISPRS, title=title), path)


def _read(path: str | Path) -> UInt8[np.ndarray, 'c h w']:
    with open_raster(path) as source:
        pixels: UInt8[np.ndarray, 'c h w'] = source.read()
    return pixels
