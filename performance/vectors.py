"""Memory and time of `vectorize` on maps of several sizes; memory must not grow with the height.

python performance/vectors.py
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine
from scipy import ndimage

from crossearth.inference import vectorize


def draw_map(path: Path, side: int) -> None:
    """Write a map of patches of about 30 px, repeated every 2048 px."""
    fields = np.random.default_rng(0).normal(size=(6, 2048, 2048)).astype(np.float32)
    patch = ndimage.gaussian_filter(fields, (0, 9, 9), mode='wrap').argmax(0).astype(np.uint8)
    with rasterio.open(
        path, 'w', driver='GTiff', height=side, width=side, count=1, dtype='uint8', tiled=True,
        blockxsize=512, blockysize=512, compress='deflate', crs='EPSG:32633',
        transform=Affine(0.1, 0, 4e5, 0, -0.1, 5e6),
    ) as dataset:  # fmt: skip
        for row in range(0, side, 2048):
            for col in range(0, side, 2048):
                height, width = min(2048, side - row), min(2048, side - col)
                window = ((row, row + height), (col, col + width))
                dataset.write(patch[None, :height, :width], window=window)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sides', type=int, nargs='+', default=[4096, 8192, 16384])
    parser.add_argument('--simplify-m', type=float, default=0)
    parser.add_argument('--measure', nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        source, destination = options.measure
        made = vectorize(source, destination, simplify_m=options.simplify_m)
        status = Path('/proc/self/status').read_text().splitlines()
        peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith('VmHWM'))
        print(json.dumps([made.shapes, round(made.seconds, 1), round(peak)]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for side in options.sides:
            source = Path(folder) / f'{side}.tif'
            draw_map(source, side)
            output = subprocess.run(
                [
                    sys.executable, __file__, '--simplify-m', str(options.simplify_m),
                    '--measure', str(source), str(source.with_suffix('.gpkg')),
                ],
                check=True, stdout=subprocess.PIPE, text=True,
            ).stdout  # fmt: skip
            polygons, seconds, peak = json.loads(output)
            print(f'{side}²: {polygons} polygons, {seconds} s, peak {peak} MiB', flush=True)


if __name__ == '__main__':
    main()
