"""Writes chips as GeoTIFFs of known pixel size, and scores their maps from `crossearth predict`.

    python performance/as_mapped.py data/roads/ottawa --gsd 0.21 --weights model.safetensors …

Only the weights are given to `predict`. The chips have no position, so they are placed next to each
other in a UTM zone, because only the size of their pixels matters. Maps come back on the chips' own
pixels and are compared with the masks (values above 127 are the class). Prints one line per weights
file, and their mean.
"""

import argparse
import math
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import rasterio
from affine import Affine

from crossearth.benchmark.results import mean_and_sd

CRS = 'EPSG:32618'
EAST, NORTH = 320_000, 5_000_000  # where a metre of the grid is a metre on the ground to 0.1 ‰


def write_chips(images: Path, folder: Path, gsd_m: float) -> list[Path]:
    """Write the images as GeoTIFFs, next to each other."""
    folder.mkdir(parents=True)
    written = []
    east = float(EAST)
    for path in sorted(images.iterdir()):
        with rasterio.open(path) as source:
            pixels = source.read((1, 2, 3))
        target = folder / f'{path.stem}.tif'
        with rasterio.open(
            target,
            'w',
            driver='GTiff',
            count=3,
            height=pixels.shape[1],
            width=pixels.shape[2],
            dtype='uint8',
            crs=CRS,
            transform=Affine(gsd_m, 0, east, 0, -gsd_m, NORTH),
        ) as file:
            file.write(pixels)
        east += gsd_m * pixels.shape[2]
        written.append(target)
    return written


def score(maps: Path, masks: Path) -> float:
    """IoU of class 1 over all pixels, in percent."""
    hit = wrong = 0
    for path in sorted(masks.iterdir()):
        with rasterio.open(path) as source, rasterio.open(maps / f'{path.stem}.tif') as made:
            truth, found = source.read(1) > 127, made.read(1) == 1
        if truth.shape != found.shape:
            raise SystemExit(
                f'{path}: the map has {found.shape} pixels, but the mask has {truth.shape}'
            )
        hit += int((truth & found).sum())
        wrong += int((truth ^ found).sum())
    return 100 * hit / (hit + wrong) if hit + wrong else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path, help='folder of images and masks')
    parser.add_argument('--gsd', type=float, required=True, help='metres per pixel')
    parser.add_argument('--weights', type=Path, nargs='+', required=True)
    parser.add_argument('--return-by', default='nearest', help='as in crossearth predict')
    args = parser.parse_args()
    scores = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_chips(args.data / 'images', folder / 'chips', args.gsd)
        for number, weights in enumerate(args.weights):
            maps = folder / f'maps{number}'
            command = [sys.executable, '-m', 'crossearth', 'predict', str(folder / 'chips')]
            command += [str(maps), '--weights', str(weights)]
            if args.return_by != 'nearest':
                command += ['--return-by', args.return_by]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
            scores.append(score(maps, args.data / 'masks'))
            print(f'{weights}: {scores[-1]:.1f}', flush=True)
            print(done.stdout.splitlines()[-1], flush=True)
    mean, sd = mean_and_sd(scores)
    print(f'IoU {mean:.1f} ± {sd:.1f} of {len(scores)} ({np.round(scores, 1).tolist()})')


if __name__ == '__main__':
    main()
