"""How fast are windows read, compared with bare rasterio and torchgeo on the same windows?

    python performance/datasets.py [--windows 200]
        [--only read|masks|resample|drawn|workers|memory|index]

Every comparison alternates the contenders in rounds, so that all of them run under the same load,
and prints the median and the quartiles of the ratios over rounds. Files are in the page cache.
"""

import argparse
import functools
import gc
import os
import resource
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine
from rasterio.windows import Window as RasterWindow
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset

from crossearth.datasets import FolderDataset, RandomWindowSampler, SceneDataset, read_scene
from crossearth.geometry import Window
from crossearth.labels import BUILDING, ISPRS, ColourCodec, IdCodec
from crossearth.rasters.ground_grid import on_local_projection

SIZE = 10_000
PX = 512
ROUNDS = 7


def write_scene(path: Path, size: int, *, seed: int, x: float = 400_000, **profile: object) -> Path:
    """Write a scene of noise over smooth ground, which compresses about as well as real imagery."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size].astype(np.float32)
    base = 120 + 60 * np.sin(rows / 90) + 50 * np.cos(cols / 130)
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        height=size,
        width=size,
        count=3,
        dtype='uint8',
        crs='EPSG:32633',
        transform=Affine(0.5, 0, x, 0, -0.5, 5_800_000),
        tiled=True,
        **profile,
    ) as target:
        for band in (1, 2, 3):
            noise = rng.integers(-6, 7, (size, size), np.int8)
            target.write((base + 3 * band + noise).astype(np.uint8), band)
    return path


def windows_of(dataset: SceneDataset, count: int, px: int = PX) -> list[Window]:
    return RandomWindowSampler(dataset, px, length=count, border='shift').windows(0)


def compare(contenders: dict[str, Callable[[], int]], *, base: str) -> None:
    """Print rates of the contenders, and the ratio of the first to each other one."""
    for run in contenders.values():
        run()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, run in contenders.items():
            start = time.perf_counter()
            count = run()
            rates[name].append(count / (time.perf_counter() - start))
    for name, values in rates.items():
        ratios = [ours / theirs for ours, theirs in zip(rates[base], values, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f'  {name:34} {statistics.median(values):8.1f} /s   {base} is {middle:5.2f} x '
            f'(quartiles {low:.2f} to {high:.2f})'
        )


def read(folder: Path, count: int) -> None:
    for title, profile in (('uncompressed', {}), ('deflate', {'compress': 'deflate'})):
        inner = folder / title
        inner.mkdir()
        path = write_scene(inner / 'a.tif', SIZE, seed=0, **profile)
        data = SceneDataset([read_scene(path)], ISPRS)
        windows = windows_of(data, count if title == 'uncompressed' else count // 4)
        handle = rasterio.open(path)
        geo = RasterDataset(inner)

        def ours(windows=windows, data=data) -> int:
            for window in windows:
                data[window]
            return len(windows)

        def bare(windows=windows, handle=handle) -> int:
            for window in windows:
                handle.read(window=RasterWindow(window.col, window.row, PX, PX))
            return len(windows)

        def torchgeo(windows=windows, geo=geo) -> int:
            for window in windows[::4]:
                left, top = 400_000 + 0.5 * window.col, 5_800_000 - 0.5 * window.row
                geo[left : left + 0.5 * PX, top - 0.5 * PX : top]
            return len(windows[::4])

        print(f'{title}: {len(windows)} random windows of {PX} from one scene of {SIZE}')
        compare({'crossearth': ours, 'rasterio': bare, 'torchgeo': torchgeo}, base='crossearth')
        handle.close()


def masks(folder: Path, count: int) -> None:
    rows, cols = np.mgrid[:SIZE, :SIZE]
    ids = ((rows // 70 * 5 + cols // 90 * 3 + rows * cols // 400_000) % 6).astype(np.uint8)
    colours = {colour: i for i, colour in enumerate(ISPRS.palette)}
    kinds = (
        ('ids', ids[None], ISPRS, None),
        ('{0, 255}', ids[None] % 2 * np.uint8(255), BUILDING, IdCodec({0: 0, 255: 1})),
        ('colours', ISPRS.colour(ids).transpose(2, 0, 1), ISPRS, ColourCodec(colours)),
    )
    for title, profile in (('uncompressed', {}), ('deflate', {'compress': 'deflate'})):
        inner = folder / f'masks_{title}'
        inner.mkdir()
        image = write_scene(inner / 'a.tif', SIZE, seed=0, **profile)
        for kind, pixels, labels, codec in kinds:
            mask = inner / 'm.tif'
            shape = {'count': len(pixels), 'height': SIZE, 'width': SIZE, 'dtype': 'uint8'}
            with rasterio.open(image) as placed:
                place = {'crs': placed.crs, 'transform': placed.transform}
            with rasterio.open(mask, 'w', tiled=True, **shape, **place, **profile) as target:
                target.write(pixels)
            data = SceneDataset([read_scene(image, mask)], labels, codec=codec)
            windows = windows_of(data, count if title == 'uncompressed' else count // 4)
            handles = rasterio.open(image), rasterio.open(mask)

            def ours(windows=windows, data=data) -> int:
                for window in windows:
                    data[window]
                return len(windows)

            def bare(windows=windows, handles=handles) -> int:
                for window in windows:
                    for handle in handles:
                        handle.read(window=RasterWindow(window.col, window.row, PX, PX))
                return len(windows)

            print(f'{title}: images and masks of {kind}, {len(windows)} windows of {PX}')
            compare({'crossearth': ours, 'rasterio': bare}, base='crossearth')
            for handle in handles:
                handle.close()


def resample(folder: Path, count: int) -> None:
    """Windows along a scene's own axes, in a local projection, and in that one by torchgeo."""
    inner = folder / 'resample'
    inner.mkdir()
    path = write_scene(inner / 'a.tif', SIZE, seed=0, x=750_000)
    along_axes = SceneDataset([read_scene(path)], ISPRS, gsd_m=0.4)
    scene = read_scene(path)
    data = SceneDataset([replace(scene, raster=on_local_projection(scene.raster, 0.4))], ISPRS)
    view = data.scenes[0]
    windows = windows_of(data, count // 4)
    own_windows = windows_of(along_axes, count // 4)
    # The scene is in UTM 33 but lies in zone 34: both bring the same ground into the same CRS.
    assert view.crs is not None and view.crs.to_epsg() == 32634
    geo = RasterDataset(inner, crs=rasterio.CRS.from_epsg(32634), res=0.4)
    boxes = []
    for window in windows:
        left, top = view.transform @ (window.col, window.row)
        right, bottom = view.transform @ (window.col + PX, window.row + PX)
        boxes.append((slice(left, right), slice(bottom, top)))

    def ours() -> int:
        for window in windows:
            data[window]
        return len(windows)

    def own_axes() -> int:
        for window in own_windows:
            along_axes[window]
        return len(own_windows)

    def torchgeo() -> int:
        for box in boxes[::4]:
            geo[box]
        return len(boxes[::4])

    print(f'resampled from 0.5 m in UTM 33 to {view.transform.a} m in UTM 34: windows of {PX}')
    contenders = {'crossearth': ours, 'torchgeo': torchgeo, 'along its own axes': own_axes}
    compare(contenders, base='crossearth')


def drawn(folder: Path, count: int) -> None:
    """Windows at random sizes compared with native ones that have as many pixels."""
    for title, profile in (('uncompressed', {}), ('deflate', {'compress': 'deflate'})):
        inner = folder / f'drawn_{title}'
        inner.mkdir()
        data = SceneDataset(
            [read_scene(write_scene(inner / 'a.tif', SIZE, seed=0, **profile))], ISPRS
        )
        some = count // (4 if title == 'uncompressed' else 16)
        plans = {
            name: RandomWindowSampler(data, PX // 2, length=some, border='shift', scale=scale)
            for name, scale in (
                ('native', None),
                ('drawn from 0.5 to 3 times', (0.5, 3.0)),
                ('3 times the size', 3.0),
                ('half the size', 0.5),
                ('a quarter of the size', 0.25),
            )
        }

        def read_all(name: str, plans=plans, data=data) -> int:
            windows = plans[name].windows(0)
            for window in windows:
                data[window]
            return len(windows)

        print(f'{title}: windows of {PX // 2} at drawn sizes, of a scene of {SIZE}')
        compare({name: functools.partial(read_all, name) for name in plans}, base='native')


def workers(folder: Path, count: int) -> None:
    path = write_scene(folder / 'w.tif', SIZE // 2, seed=0, compress='deflate')
    data = SceneDataset([read_scene(path)], ISPRS)
    print(f'workers, deflate, {os.cpu_count()} cores')
    first = 0.0
    for number in (0, 1, 2, 4):
        loader = DataLoader(
            data,
            sampler=RandomWindowSampler(data, PX, length=count, border='shift'),
            batch_size=4,
            num_workers=number,
            persistent_workers=number > 0,
        )
        for _ in loader:
            pass
        start = time.perf_counter()
        for _ in loader:
            pass
        rate = count / (time.perf_counter() - start)
        first = first or rate
        print(f'  {number} workers {rate:8.1f} /s   {rate / first:.2f} x none')


def memory(folder: Path, scenes: int, count: int) -> None:
    inner = folder / 'many'
    inner.mkdir()
    for i in range(scenes):
        write_scene(inner / f'{i:04}.tif', 128, seed=i)
    data = FolderDataset(inner, labels=ISPRS)
    sampler = RandomWindowSampler(data, 64, length=count, border='shift')
    print(f'memory: {count} windows of {scenes} scenes, at most {data._reader.max_open} files open')
    for i, window in enumerate(sampler.windows(0)):
        data[window]
        if i in (count // 10, count // 2, count - 1):
            gc.collect()
            now = int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()
            files = len(list(Path('/proc/self/fd').iterdir()))
            print(f'  after {i + 1:7} windows: {now / 1e6:7.1f} MB resident, {files} descriptors')


def index(folder: Path, chips: int) -> None:
    os.environ['CROSSEARTH_CACHE'] = str(folder / 'cache')
    images, masks = folder / 'chips' / 'i', folder / 'chips' / 'm'
    for place in (images, masks):
        place.mkdir(parents=True)
        first = write_scene(place / '0.tif', 64, seed=0)
        body = first.read_bytes()
        for i in range(1, chips):
            (place / f'{i}.tif').write_bytes(body)
    print(f'opening a dataset of {chips} chips, each with a mask')
    for turn in ('first', 'second', 'third'):
        start = time.perf_counter()
        FolderDataset(images, masks, labels=ISPRS)
        print(f'  the {turn} time {time.perf_counter() - start:6.2f} s')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--windows', type=int, default=400)
    parser.add_argument('--scenes', type=int, default=2000)
    parser.add_argument('--many', type=int, default=100_000)
    parser.add_argument('--chips', type=int, default=20_000)
    parser.add_argument(
        '--only', choices=('read', 'masks', 'resample', 'drawn', 'workers', 'memory', 'index')
    )
    arguments = parser.parse_args()
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    print(f'load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores')
    # Datasets must be larger than GDAL's block cache, or scenes would be read from memory.
    with rasterio.Env(GDAL_CACHEMAX=32), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, run in (
            ('read', lambda: read(folder, arguments.windows)),
            ('masks', lambda: masks(folder, arguments.windows)),
            ('resample', lambda: resample(folder, arguments.windows)),
            ('drawn', lambda: drawn(folder, arguments.windows)),
            ('workers', lambda: workers(folder, arguments.windows)),
            ('memory', lambda: memory(folder, arguments.scenes, arguments.many)),
            ('index', lambda: index(folder, arguments.chips)),
        ):
            if arguments.only in (None, part):
                run()
    print(f'load of the machine: {os.getloadavg()[0]:.1f}')


if __name__ == '__main__':
    main()
