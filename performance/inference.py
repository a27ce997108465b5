"""Speed and memory of `predict_scene`, compared with the minimum for the job and with MONAI.

    python performance/inference.py                        # 8192 × 8192, one thread
    python performance/inference.py --threads 2 --repeats 5
    python performance/inference.py --light --width 131072 --contenders import map --repeats 1
    python performance/inference.py --contenders floor map cog
    python performance/inference.py --contenders import floor map --seen-at 0.2   # at half size
    python performance/inference.py --contenders floor map --backbone tf_efficientnet_lite0
    pip install monai && python performance/inference.py --contenders import floor map monai

Every measurement is a separate process. The contenders take turns, so that load from other programs
slows all of them alike, and medians are printed with quartiles. The floor decodes each block once,
runs the same forward passes and writes the same map, one after the other, without any stitching.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.transform import Affine
from torch import Tensor, nn

from crossearth.inference import Outputs, Running, View, Windows, predict_scene
from crossearth.inference.grid import Grid, Unit
from crossearth.inference.stitching import Stitcher, most_likely

CLASSES, TILE_PX, STRIDE_PX = 6, 512, 341
BATCH = 1  # with two windows, the C library maps and unmaps the activations every time


def three_convolutions() -> nn.Module:
    """Six classes in patches of all sizes; the biases put the mean of every logit at zero."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, CLASSES, 3, padding=1),
    ).eval()
    with torch.inference_mode():
        levels = torch.linspace(0.2, 0.65, 10)[:, None, None, None].expand(10, 3, 32, 32)
        logits = model(levels)
        model[-1].bias -= logits.mean((0, 2, 3))
        model[-1].weight /= logits.std((0, 2, 3))[:, None, None, None]
        model[-1].bias /= logits.std((0, 2, 3))
    return model


def one_convolution() -> nn.Module:
    """A minimal model, for when only memory counts."""
    return nn.Conv2d(3, CLASSES, 1).eval()


def timm_network(backbone: str) -> nn.Module:
    """A network of a usual size, with random weights: a timm backbone under an FPN."""
    from crossearth.models import fpn_timm  # here, so that other measurements do without it

    torch.manual_seed(0)
    return fpn_timm(backbone, num_classes=CLASSES).eval().to(memory_format=torch.channels_last)


build_model: Callable[[], nn.Module] = three_convolutions


def draw_empty_scene(path: Path, height: int, width: int) -> None:
    """A black scene with no blocks stored in the file."""
    rasterio.open(
        path, 'w', driver='GTiff', height=height, width=width, count=3, dtype='uint8', tiled=True,
        blockxsize=512, blockysize=512, interleave='pixel', sparse_ok=True, crs='EPSG:32633',
        transform=Affine(0.1, 0, 4e5, 0, -0.1, 5e6), bigtiff='yes',
    ).close()  # fmt: skip


def draw_scene(path: Path, height: int, width: int) -> None:
    """Smooth fields with grain; deflate halves their size, as for real orthophotos."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:512, :512] / 512
    with rasterio.open(
        path, 'w', driver='GTiff', height=height, width=width, count=3, dtype='uint8', tiled=True,
        blockxsize=512, blockysize=512, compress='deflate', predictor=2, interleave='pixel',
        crs='EPSG:32633', transform=Affine(0.1, 0, 4e5, 0, -0.1, 5e6), photometric='rgb',
        bigtiff='if_safer',
    ) as scene:  # fmt: skip
        for _, window in scene.block_windows(1):
            a, b, c, d = generator.uniform(-6, 6, 4)
            field = 110 + 60 * np.sin(a * x + b * y + c) * np.cos(d * x)
            grain = generator.integers(-9, 10, (3, 512, 512))
            block = (field + grain).astype(np.uint8)[:, : window.height, : window.width]
            scene.write(block, window=window)


def floor(scene: Path, former_map: Path, folder: Path) -> dict[str, float]:
    start, cpu_start = time.perf_counter(), time.process_time()
    with rasterio.open(scene) as dataset:
        height, width = dataset.shape
        for row in range(0, height, 512):
            dataset.read(window=((row, min(row + 512, height)), (0, width)))
    decoded = time.perf_counter()
    windows = len(Grid(height, width, tile_px=TILE_PX, stride_px=STRIDE_PX))
    model, images = build_model(), torch.rand(BATCH, 3, TILE_PX, TILE_PX)
    with torch.inference_mode():
        for _ in range(0, windows, BATCH):
            model(images)
    run, cpu_run = time.perf_counter(), time.process_time()
    with rasterio.open(former_map) as labels:
        rows = [
            labels.read(1, window=((row, min(row + 512, height)), (0, width)))
            for row in range(0, height, 512)
        ]
        profile = labels.profile
    reread, cpu_reread = time.perf_counter(), time.process_time()
    with rasterio.open(folder / 'floor.tif', 'w', **profile) as out:
        for index, part in enumerate(rows):
            window = ((index * 512, index * 512 + part.shape[0]), (0, width))
            out.write(part[None], window=window)
    end = time.perf_counter()
    return {
        'seconds': end - reread + run - start,
        'cpu': time.process_time() - cpu_reread + cpu_run - cpu_start,
        'decode': decoded - start,
        'forward': run - decoded,
        'write': end - reread,
    }


def crossearth_map(
    scene: Path,
    folder: Path,
    memory_mb: int | None,
    *,
    cog: bool,
    gsd_m: float | None,
    scales: list[float],
) -> dict[str, float]:
    made = predict_scene(
        build_model(),
        scene,
        folder / ('cog.tif' if cog else 'map.tif'),
        windows=Windows(tile_px=TILE_PX, stride_px=STRIDE_PX, scales=scales),
        running=Running(batch_size=BATCH, memory_mb=memory_mb),
        outputs=Outputs(cog=cog),
        view=View(gsd_m=gsd_m),
    )
    return {'seconds': made.seconds, 'windows': made.windows_run, 'units': made.units}


def monai_map(scene: Path, folder: Path) -> dict[str, float]:
    from monai.inferers import SlidingWindowInferer

    start = time.perf_counter()
    with rasterio.open(scene) as dataset:
        image = torch.from_numpy(dataset.read())[None].float().div_(255)
        profile = dataset.profile | {'count': 1, 'photometric': 'minisblack', 'predictor': 1}
    inferer = SlidingWindowInferer(
        TILE_PX, sw_batch_size=BATCH, overlap=1 / 3, mode='gaussian', progress=False
    )
    model = build_model()

    def probabilities(images: Tensor) -> Tensor:
        return model(images).softmax(1)

    with torch.inference_mode():
        labels = inferer(image, probabilities).max(1).indices.to(torch.uint8)
    with rasterio.open(folder / 'monai.tif', 'w', **profile) as out:
        out.write(labels.numpy())
    return {'seconds': time.perf_counter() - start}


def stitching(width: int) -> dict[str, float]:
    """CPU time of one window: softmax, weighted sum, and its share of the finished rows."""
    grid = Grid(2 * TILE_PX, width, tile_px=TILE_PX, stride_px=STRIDE_PX)
    unit = Unit(0, grid.height, 0, grid.width)
    stitcher = Stitcher(grid, unit, num_classes=CLASSES, device=torch.device('cpu'))
    logits = torch.rand(BATCH, CLASSES, TILE_PX, TILE_PX)
    scores = torch.empty_like(logits)
    spent = {'softmax': 0.0, 'sum': 0.0, 'finish': 0.0}

    def timed(name: str, call: Callable[[], object]) -> None:
        before = time.process_time()
        call()
        spent[name] += time.process_time() - before

    def finish(stop: int) -> None:
        filled = 0
        for sums in stitcher.finished(stop):
            most_likely(sums, out=labels[filled : filled + sums.shape[1]])
            filled += sums.shape[1]
        stitcher.release(stop)

    labels = torch.zeros((STRIDE_PX, width), dtype=torch.uint8)
    count = len(grid.col_starts)
    with torch.inference_mode():
        for col in range(count):  # touch every page first, to keep that out of the measurement
            stitcher.add(scores[0], row_index=0, col_index=col)
        for col in range(0, count, BATCH):
            timed('softmax', lambda: torch.softmax(logits, 1, out=scores))
            for index in range(min(BATCH, count - col)):
                window, at = scores[index], col + index
                timed('sum', lambda w=window, a=at: stitcher.add(w, row_index=0, col_index=a))
        timed('finish', lambda: finish(STRIDE_PX))
    spent['softmax'] *= count / (-(-count // BATCH) * BATCH)
    per_window = {name: 1000 * seconds / count for name, seconds in spent.items()}
    return {
        'seconds': sum(spent.values()),
        **{f'{name}_ms': ms for name, ms in per_window.items()},
        'stitch_ms': per_window['sum'] + per_window['finish'],
    }


def peak_mib() -> float:
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM'):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    folder = Path(options.folder)
    scene = folder / 'scene.tif'
    before = time.process_time()
    global build_model
    if options.light:
        build_model = one_convolution
    elif options.backbone:
        build_model = partial(timm_network, options.backbone)
    if options.measure == 'monai':
        result = monai_map(scene, folder)
    elif options.measure in ('map', 'cog'):
        cog = options.measure == 'cog'
        result = crossearth_map(
            scene, folder, options.memory_mb, cog=cog, gsd_m=options.seen_at, scales=options.scales
        )
    elif options.measure == 'floor':
        result = floor(scene, folder / 'map.tif', folder)
    elif options.measure == 'stitching':
        result = stitching(options.width)
    else:
        result = {'seconds': 0.0}
    result |= {'cpu': result.get('cpu', time.process_time() - before), 'peak_mib': peak_mib()}
    print(json.dumps({name: round(value, 3) for name, value in result.items()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--height', type=int, default=8192)
    parser.add_argument('--width', type=int, default=8192)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--memory-mb', type=int)
    parser.add_argument('--seen-at', type=float, help='metres per pixel; the scene has 0.1')
    parser.add_argument('--scales', type=float, nargs='+', default=[1], help='factors of the scene')
    parser.add_argument(
        '--light', action='store_true', help='black scene, one small convolution: only for memory'
    )
    parser.add_argument('--backbone', help="timm's name of one, for a model of a usual size")
    parser.add_argument(
        '--plain-allocator', action='store_true', help='let others return freed memory at once'
    )
    parser.add_argument('--folder', help='keeps the scene for the next run')
    parser.add_argument(
        '--contenders', nargs='+', default=['import', 'floor', 'map', 'stitching'],
        choices=['import', 'floor', 'map', 'cog', 'monai', 'stitching'],
    )  # fmt: skip
    parser.add_argument('--measure', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary)
        folder.mkdir(exist_ok=True)
        scene = folder / 'scene.tif'
        if not scene.exists():
            draw = draw_empty_scene if options.light else draw_scene
            draw(scene, options.height, options.width)
        command = [
            sys.executable, __file__, '--folder', str(folder), '--threads', str(options.threads),
            '--width', str(options.width),
        ]  # fmt: skip
        if options.light:
            command.append('--light')
        if options.backbone:
            command += ['--backbone', options.backbone]
        if options.seen_at:
            command += ['--seen-at', str(options.seen_at)]
        command += ['--scales', *map(str, options.scales)]
        if options.memory_mb:
            command += ['--memory-mb', str(options.memory_mb)]
        environment = os.environ | {
            'OMP_NUM_THREADS': str(options.threads),
            'PYTHONPATH': os.pathsep.join([str(Path.cwd()), os.environ.get('PYTHONPATH', '')]),
        }
        if not options.plain_allocator:  # the same for all: see crossearth.inference.allocator
            environment |= {
                'MALLOC_MMAP_THRESHOLD_': str(32 << 20),
                'MALLOC_TRIM_THRESHOLD_': str(256 << 20),
            }
        results: dict[str, list[dict[str, float]]] = {name: [] for name in options.contenders}
        if 'floor' in results and not (folder / 'map.tif').exists():
            subprocess.run([*command, '--measure', 'map'], check=True, env=environment)
        for _ in range(options.repeats):
            for name in options.contenders:
                output = subprocess.run(
                    [*command, '--measure', name],
                    check=True, env=environment, stdout=subprocess.PIPE, text=True,
                ).stdout  # fmt: skip
                results[name].append(json.loads(output.splitlines()[-1]))
                print(name, output.splitlines()[-1], flush=True)
        report(results, options)


def report(results: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    load = ' '.join(f'{value:.1f}' for value in os.getloadavg())
    print(
        f'\n{options.height} × {options.width}, {options.threads} thread(s), '
        f'{os.cpu_count()} cores, load {load}, median of {options.repeats} (quartiles)'
    )

    def wall(run: dict[str, float]) -> float:
        return run['seconds']

    def cpu(run: dict[str, float]) -> float:
        return run['cpu']

    for name, runs in results.items():
        seconds = sorted(run['seconds'] for run in runs)
        low, high = (np.percentile(seconds, part) for part in (25, 75))
        line = f'{name:10} {statistics.median(seconds):8.2f} s ({low:.2f}–{high:.2f})'
        if 'floor' in results and name in ('map', 'cog', 'monai'):
            for label, cost in (('wall', wall), ('CPU', cpu)):
                ratios = [
                    cost(run) / cost(base) for run, base in zip(runs, results['floor'], strict=True)
                ]
                line += f'  {statistics.median(ratios):5.2f} × floor ({label})'
        print(line + f'  peak {statistics.median(run["peak_mib"] for run in runs):6.0f} MiB')
        if name == 'stitching':
            for part in ('softmax', 'sum', 'finish', 'stitch'):
                median = statistics.median(run[f'{part}_ms'] for run in runs)
                print(f'    {part:8} {median:6.2f} ms CPU per window')


if __name__ == '__main__':
    main()
