"""Roads of Massachusetts, learnt from 70 images, looked for in another country.

Trains an ImageNet EfficientNet-lite0 under an FPN on Massachusetts roads and scores roads
(foreground IoU) on Massachusetts' own test images and on the road images of ETH's CIL course, for
several seeds: as they are (source only), and in the styles of AID scenes (`FourierStyle`). Then
maps two real scenes, seen at the 1 m of Massachusetts, and checks that the maps lie where the
scenes lie.

    python benchmarks/real_roads.py --data ../shared/data --seeds 3 --steps 200

The images are not part of this library; `--data` needs the folders `roads`, `style_aid150`,
`georef` and `weights/backbone`.
"""

import argparse
import json
import logging
import platform
import statistics
import time
import warnings
from pathlib import Path

import kornia.augmentation as K
import lightning.pytorch as pl
import rasterio
import torch

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.inference import predict_scene
from crossearth.labels import ROAD, ThresholdCodec
from crossearth.metrics import iou_per_class
from crossearth.models import Segmenter, fpn_timm, save_model
from crossearth.trainers import DomainGeneralizationTask, fourier_style

SCENES = {
    'NAIP, North Dakota': 'opengeos__data__m_4709963_se_14_1_20150926.tif',
    'Adelaide, EPSG:4326': 'bao18__open_earth_map__adelaide_2.tif',
}
METHODS = ('source only', 'FourierStyle')


def roads(folder: Path) -> FolderDataset:
    return FolderDataset(folder / 'images', folder / 'masks', labels=ROAD, codec=ThresholdCodec())


def build(data: Path) -> Segmenter:
    (weights,) = (data / 'weights' / 'backbone').glob('*')
    return fpn_timm('tf_efficientnet_lite0', num_classes=2, pretrained=str(weights), width=64)


def train(
    data: Path, method: str, *, seed: int, steps: int
) -> tuple[DomainGeneralizationTask, dict[str, float], float]:
    """A trained task, the road IoU of each domain, and seconds a step."""
    pl.seed_everything(seed, verbose=False)
    flips = K.AugmentationSequential(
        K.RandomHorizontalFlip(), K.RandomVerticalFlip(), data_keys=None
    )
    batches = ShiftDataModule(
        roads(data / 'roads' / 'massachusetts' / 'train'),
        source_test=roads(data / 'roads' / 'massachusetts' / 'test'),
        unseen={'eth': roads(data / 'roads' / 'eth_cil2022')},
        size_px=256,
        test_size_px=400,
        windows_per_epoch=steps * 4,
        batch_size=4,
        augment=flips,
        seed=seed,
    )
    style = None
    if method == 'FourierStyle':
        style = fourier_style(data / 'style_aid150', p=0.5, beta=0.01, seed=seed)
    task = DomainGeneralizationTask(build(data), labels=ROAD, style=style, lr=5e-4)
    trainer = pl.Trainer(
        accelerator='auto',
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    start = time.perf_counter()
    trainer.fit(task, datamodule=batches)
    seconds = (time.perf_counter() - start) / steps
    trainer.test(task, datamodule=batches, verbose=False)
    scores = {name: float(iou_per_class(matrix)[1]) for name, matrix in task.confusion.items()}
    return task, scores, seconds


def map_scene(task: DomainGeneralizationTask, scene: Path, target: Path) -> str:
    made = predict_scene(
        task.model, scene, target, tile_px=512, gsd_m=1.0, bands=(1, 2, 3), labels=ROAD
    )
    with rasterio.open(scene) as source, rasterio.open(target) as result:
        assert result.crs == source.crs, (result.crs, source.crs)
        assert result.transform == source.transform, (result.transform, source.transform)
        assert result.shape == source.shape, (result.shape, source.shape)
        ids = result.read(1)
    share = (ids == 1).sum() / max((ids != 255).sum(), 1)
    return (
        f'{made.height} x {made.width} px, {made.windows} windows, {made.seconds:.1f} s, '
        f'CRS and transform equal; {100 * share:.1f} % of pixels called road'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--output', type=Path, default=Path('real-roads'))
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--steps', type=int, default=200)
    arguments = parser.parse_args()
    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    warnings.filterwarnings('ignore')
    arguments.output.mkdir(parents=True, exist_ok=True)

    runs = []
    kept = {}
    for method in METHODS:
        for seed in range(arguments.seeds):
            task, scores, seconds = train(arguments.data, method, seed=seed, steps=arguments.steps)
            runs.append({'method': method, 'seed': seed, 's_per_step': seconds, **scores})
            print(json.dumps(runs[-1]), flush=True)
            if seed == 0:
                kept[method] = task
                assert isinstance(task.model, Segmenter)
                name = f'{method.replace(" ", "_")}.safetensors'
                save_model(task.model, arguments.output / name, labels=ROAD)
    (arguments.output / 'runs.json').write_text(json.dumps(runs, indent=1))

    print(f'\n{arguments.steps} steps of 4 x 256², {arguments.seeds} seeds, road IoU in %:')
    print('| method | Massachusetts (source) | ETH (unseen) | s a step |')
    print('|---|---|---|---|')
    for method in METHODS:
        rows = [run for run in runs if run['method'] == method]
        cells = []
        for domain in ('source', 'eth'):
            values = [100 * float(row[domain]) for row in rows]
            spread = statistics.stdev(values) if len(values) > 1 else float('nan')
            cells.append(f'{statistics.mean(values):.1f} ± {spread:.1f}')
        pace = statistics.median(float(row['s_per_step']) for row in rows)
        print(f'| {method} | {cells[0]} | {cells[1]} | {pace:.2f} |')
    print(f'\ntorch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads')

    for name, file in SCENES.items():
        for method, task in kept.items():
            target = arguments.output / f'{Path(file).stem}_{method.replace(" ", "_")}.tif'
            print(f'{name}, {method}: {map_scene(task, arguments.data / "georef" / file, target)}')


if __name__ == '__main__':
    main()
