"""Can the ground sampling distance of a scene be estimated from its pixels?

Compares two kinds of features: statistics of a frozen encoder (ImageNet), which the library uses,
and radial power spectra. Each is fitted on images of known distance, and tested on domains that it
was not fitted on. Then it is applied to images of unknown distance:

    python performance/gsd.py --data DATA --output gsd.json

The images are not part of this library: `--data` needs the folders `roads`, `buildings`,
`multiclass` and `weights`. It takes a few minutes on one CPU core.
"""

import argparse
import json
import math
import statistics
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from crossearth.resolution import KnownScene, estimate_gsd, fit_gsd_estimator, gsd_network
from crossearth.resolution.network import GsdNetwork

KNOWN = {
    'massachusetts': (1.0, ['roads/massachusetts/*/images']),
    'tianjin': (0.463, ['roads/tianjin_google/images', 'roads/tianjin_mapbox/images']),
    'ottawa': (0.21, ['roads/ottawa/images']),
    'inria, crowdai': (0.3, ['buildings/inria_256/*/images', 'buildings/crowdai/images']),
    'loveda': (0.3, ['multiclass/loveda/img_dir']),
    'banepa': (0.132, ['buildings/banepa/images']),
}
UNKNOWN = {'eth': ['roads/eth_cil2022/images'], 'dubai': ['multiclass/dubai/images']}


class RadialSpectrum(nn.Module):
    """Log power in ten bands of half an octave, from 1/64 cycles per pixel to 1/2."""

    width = 10

    def forward(self, grey: Tensor) -> Tensor:
        """Log power (b, 10) of grey images (b, 1, h, w); empty bands copy their neighbours."""
        height, width = grey.shape[2:]
        window = torch.hann_window(height)[:, None] * torch.hann_window(width)
        power = torch.fft.fft2(grey[:, 0] * window).abs() ** 2 / (window**2).sum()
        cycles = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width))
        edges = [0.5 * 2 ** (-step / 2) for step in range(self.width + 1)]
        bands = []
        for high, low in pairwise(edges):
            inside = (cycles > low) & (cycles <= high)
            bands.append(power[:, inside].mean(1).clamp_min(1e-9).log() if inside.any() else None)
        known = [band for band in bands if band is not None]
        return torch.stack([known[-1] if band is None else band for band in bands], 1)


def images(data: Path, folders: list[str]) -> list[str]:
    found = [
        path for pattern in folders for folder in data.glob(pattern) for path in folder.iterdir()
    ]
    return sorted(map(str, found))


def networks(data: Path) -> dict[str, GsdNetwork]:
    (weights,) = (data / 'weights/backbone').glob('*')
    spectrum = RadialSpectrum()
    return {
        'frozen features': gsd_network(pretrained=str(weights)),
        'spectra': GsdNetwork(spectrum, width=spectrum.width).eval(),
    }


def distribution(network: GsdNetwork, scenes: list[str], truth_m: float | None) -> dict[str, float]:
    found = [estimate_gsd(network, scene) for scene in scenes]
    told = [one for one in found if one.gsd_m is not None]
    octaves = sorted(math.log2(one.gsd_m) for one in told)
    said = {'scenes': len(found), 'told': len(told)}
    if len(told) > 1:
        tenths = statistics.quantiles(octaves, n=10)
        said |= {'p10': 2 ** tenths[0], 'median': 2 ** tenths[4], 'p90': 2 ** tenths[8]}
    if truth_m is not None and told:
        errors = [octave - math.log2(truth_m) for octave in octaves]
        said['bias'] = statistics.median(errors)
        said['error'] = statistics.median(map(abs, errors))
        said['within_half'] = sum(abs(error) <= 0.5 for error in errors) / len(found)
        said['covered'] = sum(one.low_m <= truth_m <= one.high_m for one in told) / len(found)
    return {name: round(value, 3) for name, value in said.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', type=Path, required=True)
    parser.add_argument('--output', type=Path, required=True)
    parser.add_argument('--max-blocks', type=int, default=40, help='images per domain')
    parser.add_argument('--features', choices=['frozen features', 'spectra'], help='only these')
    arguments = parser.parse_args()
    data = arguments.data
    torch.set_num_threads(1)
    known = {
        name: [KnownScene(path, gsd_m) for path in images(data, folders)]
        for name, (gsd_m, folders) in KNOWN.items()
    }
    results = {}
    for kind in networks(data) if arguments.features is None else [arguments.features]:
        for fitted_on, domains in (
            ('massachusetts', {'massachusetts': known['massachusetts']}),
            ('all', known),
        ):
            network = networks(data)[kind]
            started = time.perf_counter()
            report = fit_gsd_estimator(network, domains, max_blocks=arguments.max_blocks)
            print(
                f'\n{kind}, fitted on {fitted_on}: {time.perf_counter() - started:.0f} s\n{report}'
            )
            judged = dict(UNKNOWN)
            if fitted_on != 'all':
                judged |= {name: folders for name, (_, folders) in KNOWN.items()}
                del judged['massachusetts']
            for name, folders in judged.items():
                truth_m = KNOWN[name][0] if name in KNOWN else None
                scenes = images(data, folders)
                if name in KNOWN:
                    scenes = scenes[:: max(len(scenes) // arguments.max_blocks, 1)]
                row = distribution(network, scenes, truth_m)
                results[f'{kind} | {fitted_on} | {name}'] = row
                print(f'  {name}: {row}', flush=True)
            results[f'{kind} | {fitted_on}'] = str(report).splitlines()
    arguments.output.write_text(json.dumps(results, indent=1), encoding='utf-8')


if __name__ == '__main__':
    main()
