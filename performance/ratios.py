"""What the library costs next to the least, or the usual way, of doing the same.

    python performance/ratios.py                    # compares with performance/ratios.json
    python performance/ratios.py --only confusion import
    python performance/ratios.py --store            # after a change that is meant: keeps the ratios

Each case takes turns with its yardstick in one process and one thread, in CPU time, so that a busy
machine changes little; a ratio is the median over the rounds. A case that costs more than twice
its stored ratio is measured again, and if it still does, the exit status is 1. Ratios below 1 are
cases that are cheaper than their yardstick.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

STORED = Path(__file__).with_suffix('.json')
MARGIN = 2.0
ROUNDS = 7

type Call = Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """CPU seconds of a case and its yardstick, and the quartiles of their ratios."""

    ours: float
    yardstick: float
    low: float
    ratio: float
    high: float


def alternate(ours: Call, yardstick: Call, *, rounds: int = ROUNDS, warm: bool = True) -> Measured:
    if warm:
        ours()
        yardstick()
    pairs = []
    for _ in range(rounds):
        start = _cpu_s()
        ours()
        between = _cpu_s()
        yardstick()
        pairs.append((between - start, _cpu_s() - between))
    low, ratio, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    medians = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Measured(*medians, low, ratio, high)


def _cpu_s() -> float:
    """Of this process and of its children that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def photometric() -> Measured:
    """All four steps of `PhotometricDistortion` next to those of torchvision."""
    import torch
    from torchvision.transforms.v2 import RandomPhotometricDistort

    from crossearth.transforms import PhotometricDistortion

    image = torch.rand(2, 3, 512, 512)
    amounts = {'brightness': 0.05, 'contrast': 1.2, 'saturation': 1.3, 'hue': 0.05}
    distort, theirs = PhotometricDistortion(), RandomPhotometricDistort(p=1.0)
    drawn = distort.forward_parameters(image.shape)
    drawn |= {name: torch.full((2,), amount) for name, amount in amounts.items()}
    samples = list(image)
    return alternate(lambda: distort(image, drawn), lambda: [theirs(one) for one in samples])


def scale_crop() -> Measured:
    """`RandomScaleCrop` of images and masks next to torchvision's resizing and cropping."""
    import torch
    from torchvision.transforms.v2 import Compose, RandomCrop, Resize
    from torchvision.tv_tensors import Image, Mask

    from crossearth.transforms import RandomScaleCrop

    image = torch.rand(2, 3, 512, 512)
    mask = (torch.arange(512) // 64 + torch.arange(512)[:, None] // 100).expand(2, 512, 512) % 7
    ours = RandomScaleCrop(512, scale_range=(1.3, 1.3))
    theirs = Compose([Resize((666, 666), antialias=False), RandomCrop(512)])
    pairs = [(Image(one), Mask(other)) for one, other in zip(image, mask, strict=True)]
    return alternate(
        lambda: ours({'image': image, 'mask': mask}), lambda: [theirs(*pair) for pair in pairs]
    )


def confusion() -> Measured:
    """`confusion_matrix` next to torchmetrics', for 7 classes at 2 × 512²."""
    import torch
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    from crossearth.metrics import confusion_matrix

    prediction, target = torch.randint(0, 7, (2, 2, 512, 512))
    target[:, :40] = 255
    return alternate(
        lambda: confusion_matrix(prediction, target, num_classes=7),
        lambda: multiclass_confusion_matrix(prediction, target, 7, ignore_index=255),
    )


def attention(*, training: bool) -> Measured:
    """`deformable_attention` for an image of 256 px next to the same with `grid_sample`."""
    from deformable_attention import run

    return alternate(
        lambda: run('ours', 256, training=training),
        lambda: run('grid_sample', 256, training=training),
    )


def rein_vit() -> Measured:
    """`ReinViT` without an adapter next to the transformer alone."""
    import timm
    import torch

    from crossearth.models.backbones import ReinViT

    sizes = {'img_size': 128, 'depth': 4, 'num_classes': 0, 'dynamic_img_size': True}
    vit = timm.create_model('vit_small_patch16_224', **sizes).eval()
    backbone = ReinViT(vit, None)
    image = torch.rand(4, 3, 128, 128)
    with torch.inference_mode():
        return alternate(lambda: backbone(image), lambda: vit.forward_features(image))


def windows() -> Measured:
    """Windows of a `SceneDataset` next to `rasterio` on an open file."""
    import rasterio
    from inference import draw_scene
    from rasterio.windows import Window

    from crossearth.datasets import RandomWindowSampler, SceneDataset, read_scene
    from crossearth.labels import ISPRS

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'scene.tif'
        draw_scene(path, 2048, 2048)
        data = SceneDataset([read_scene(path)], ISPRS)
        places = RandomWindowSampler(data, 512, length=12, border='shift').windows(0)
        with rasterio.open(path) as file:
            return alternate(
                lambda: [data[place] for place in places],
                lambda: [file.read(window=Window(at.col, at.row, 512, 512)) for at in places],
            )


def mapping() -> Measured:
    """`predict_scene` next to the model's forwards alone, for three small convolutions."""
    import torch
    from inference import STRIDE_PX, TILE_PX, draw_scene, three_convolutions

    from crossearth.inference import Running, Windows, predict_scene
    from crossearth.inference.allocator import keeping_freed_memory

    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / 'scene.tif'
        draw_scene(scene, 1024, 1024)
        model, window = three_convolutions(), torch.rand(1, 3, TILE_PX, TILE_PX)
        sizes = Windows(tile_px=TILE_PX, stride_px=STRIDE_PX)

        def mapped() -> object:
            return predict_scene(
                model, scene, Path(folder) / 'map.tif', windows=sizes, running=Running(batch_size=1)
            )

        count = mapped().windows_run

        def forwards() -> None:
            with torch.inference_mode(), keeping_freed_memory():
                for _ in range(count):
                    model(window)

        return alternate(mapped, forwards)


def importing(module: str) -> Measured:
    """A fresh interpreter that imports a module next to one that imports torch."""

    def load(name: str) -> Call:
        return lambda: subprocess.run([sys.executable, '-c', f'import {name}'], check=True)

    return alternate(load(module), load('torch'), rounds=2, warm=False)


CASES: dict[str, Callable[[], Measured]] = {
    'photometric': photometric,
    'scale_crop': scale_crop,
    'confusion': confusion,
    'attention': lambda: attention(training=False),
    'attention_training': lambda: attention(training=True),
    'rein_vit': rein_vit,
    'windows': windows,
    'mapping': mapping,
    'import_inference': lambda: importing('crossearth.inference'),
    'import_builders': lambda: importing('crossearth.models.builders'),
}


def regressions(found: Mapping[str, float], stored: Mapping[str, float]) -> dict[str, str]:
    """What costs more than `MARGIN` times its stored ratio, with a line about each."""
    return {
        name: f'{name} costs {ratio:.2f} times its yardstick, {ratio / stored[name]:.1f} times the '
        f'stored {stored[name]:.2f}: expected at most {MARGIN:g} times; find what became slower, '
        'or keep the new ratio with --store if it is meant'
        for name, ratio in found.items()
        if name in stored and ratio > MARGIN * stored[name]
    }


def measure(name: str) -> float:
    found = CASES[name]()
    print(
        f'{name:20} {1e3 * found.ours:9.1f} ms, yardstick {1e3 * found.yardstick:9.1f} ms, ratio '
        f'{found.ratio:5.2f} (quartiles {found.low:.2f} to {found.high:.2f})',
        flush=True,
    )
    return found.ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--store', action='store_true', help='keep the ratios for later runs')
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = {name: measure(name) for name in options.only}
    known = json.loads(STORED.read_text())['ratios'] if STORED.exists() else {}
    load = ' '.join(f'{value:.1f}' for value in os.getloadavg())
    print(f'torch {torch.__version__}, Python {platform.python_version()}, load {load}')
    if options.store:
        known |= {name: round(ratio, 3) for name, ratio in found.items()}
        ratios = {name: known[name] for name in CASES if name in known}
        where = {
            'torch': torch.__version__,
            'python': platform.python_version(),
            'machine': platform.machine(),
        }
        STORED.write_text(json.dumps({'measured_with': where, 'ratios': ratios}, indent=2) + '\n')
        return 0
    again = {name: measure(name) for name in regressions(found, known)}
    lines = regressions(again, known).values()
    print(*lines, sep='\n')
    return 1 if lines else 0


if __name__ == '__main__':
    sys.exit(main())
