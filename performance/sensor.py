"""Time of `SensorSimulation` and of each of its steps, next to the other augmentations.

    OMP_NUM_THREADS=1 python performance/sensor.py [--batch 4] [--side 256] [--device cuda]

Prints milliseconds per batch: the mean over draws, which is the cost in a training run, the median
and the interquartile range. The steps take turns, so that load slows all of them alike. On a busy
machine, compare rows and not runs.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from crossearth.transforms import FourierStyle, PhotometricDistortion, SensorSimulation

STEPS = ('p_blur', 'p_sampling', 'p_noise', 'p_bits', 'p_jpeg')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--side', type=int, default=256)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--repeats', type=int, default=60)
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    coarse = torch.rand(args.batch, 3, args.side // 8, args.side // 8, device=device)
    image = nn.functional.interpolate(coarse, (args.side, args.side), mode='bilinear')
    never = dict.fromkeys(STEPS, 0.0)
    ways: dict[str, nn.Module] = {
        'PhotometricDistortion': PhotometricDistortion(),
        'FourierStyle': FourierStyle(torch.rand(64, 3, 128, 128)).to(device),
        'SensorSimulation': SensorSimulation(),
        'every step, every sample': SensorSimulation(p=1.0, **dict.fromkeys(STEPS, 1.0)),
        **{f'{step} alone': SensorSimulation(p=1.0, **{**never, step: 1.0}) for step in STEPS},
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, way in ways.items():
            begin = time.perf_counter()
            way(image)
            if device.type == 'cuda':
                torch.cuda.synchronize()
            taken[name].append(1e3 * (time.perf_counter() - begin))
    threads = torch.get_num_threads()
    print(f'torch {torch.__version__}, {device}, {threads} thread(s), {tuple(image.shape)}')
    print(f'{"":26}{"mean":>8}{"median":>8}{"IQR":>14}  ms per batch')
    for name, times in taken.items():
        low, median, high = statistics.quantiles(times[3:], n=4)
        mean = statistics.mean(times[3:])
        print(f'{name:26}{mean:8.1f}{median:8.1f}{f"{low:.1f}-{high:.1f}":>14}')


if __name__ == '__main__':
    main()
