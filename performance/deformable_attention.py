"""Deformable attention on the CPU compared with `grid_sample`: time, memory and difference.

    python performance/deformable_attention.py --sides 512 1024 --threads 2

Both run on the same inputs in the same process, in turns. Memory is the growth of a separate
process (Linux). Levels are those of Mask2Former's pixel decoder: strides 32, 16 and 8, with 8
heads of 32 channels and 4 points.

Differences are relative to the largest value of each tensor. A bilinear map is smooth between pixel
centres, but its slope jumps at them. So a location within rounding of a centre may have either
slope as its gradient. In float32, such places are counted and left out. In float64 there are none.

If other programs keep the cores busy, set OMP_WAIT_POLICY=passive. Otherwise threads that wait for
each other spin, and the result measures how many parallel loops a method has.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from crossearth.models.decoders import deformable_attention

type Sizes = list[tuple[int, int]]


def by_grid_sample(value: Tensor, sizes: Sizes, locations: Tensor, weights: Tensor) -> Tensor:
    """Sample every level by `grid_sample`, stack the samples, and take one weighted sum."""
    batch, _, heads, width = value.shape
    queries = weights.shape[1]
    samples = []
    for level, image in enumerate(value.split([h * w for h, w in sizes], dim=1)):
        image = image.flatten(2).transpose(1, 2).reshape(batch * heads, width, *sizes[level])
        grid = 2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1
        samples.append(F.grid_sample(image, grid, align_corners=False))
    weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, -1)
    sums = (torch.stack(samples, dim=-2).flatten(-2) * weights).sum(-1)
    return sums.view(batch, heads * width, queries).transpose(1, 2).contiguous()


METHODS: dict[str, Callable[[Tensor, Sizes, Tensor, Tensor], Tensor]] = {
    'grid_sample': by_grid_sample,
    'ours': deformable_attention,
}


def inputs(side_px: int) -> tuple[Tensor, Sizes, Tensor, Tensor]:
    """Values, sizes, locations around each query's own pixel, and weights that sum to 1."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(side_px // stride, side_px // stride) for stride in (32, 16, 8)]
    pixels = sum(h * w for h, w in sizes)
    value = torch.randn(1, pixels, 8, 32, generator=generator)
    places = []
    for h, w in sizes:
        y, x = torch.meshgrid(
            (torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing='ij'
        )
        places.append(torch.stack([x, y], dim=-1).view(-1, 2))
    offsets = 2 * torch.randn(1, pixels, 8, 3, 4, 2, generator=generator)
    extent = torch.tensor([[w, h] for h, w in sizes])
    locations = torch.cat(places).view(1, pixels, 1, 1, 1, 2) + offsets / extent[:, None]
    weights = torch.randn(1, pixels, 8, 12, generator=generator).softmax(-1)
    return value, sizes, locations, weights.view(1, pixels, 8, 3, 4)


def run(
    method: str, side_px: int, *, training: bool, kind: torch.dtype = torch.float32
) -> tuple[tuple[float, float], list[Tensor]]:
    """Seconds and CPU seconds of one call; the sums, and in training the three gradients."""
    value, sizes, locations, weights = inputs(side_px)
    leaves = [t.to(kind).requires_grad_(training) for t in (value, locations, weights)]
    with torch.set_grad_enabled(training):
        start, start_cpu = time.perf_counter(), time.process_time()
        sums = METHODS[method](leaves[0], sizes, leaves[1], leaves[2])
        if training:
            sums.sin().sum().backward()
        seconds = (time.perf_counter() - start, time.process_time() - start_cpu)
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    return seconds, [sums.detach(), *gradients]


def at_kinks(side_px: int) -> Tensor:
    """Which coordinates are within 1e-4 px of a pixel centre, where the slope jumps."""
    _, sizes, locations, _ = inputs(side_px)
    extent = torch.tensor([[w, h] for h, w in sizes])[:, None]
    pixels = locations.double() * extent - 0.5
    return (pixels - pixels.round()).abs() < 1e-4


def largest_difference(
    found: list[Tensor], expected: list[Tensor], *, skip: Tensor | None = None
) -> float:
    """Difference relative to the largest value of each tensor, without the slopes in `skip`."""
    worst = 0.0
    for index, (a, b) in enumerate(zip(found, expected, strict=True)):
        difference = (a.double() - b.double()).abs()
        if skip is not None and index == 2:  # sums, d values, d locations, d weights
            difference = difference.masked_fill(skip, 0)
        worst = max(worst, (difference.max() / b.abs().max()).item())
    return worst


def peak_mib(method: str, side_px: int, *, training: bool) -> float:
    """Growth of a fresh process's peak memory during one call."""
    flags = ['--memory-of', method, '--sides', str(side_px), *(['--training'] if training else [])]
    done = subprocess.run(
        [sys.executable, __file__, *flags], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def growth_mib(call: Callable[[], object]) -> float:
    """Growth of this process's resident memory during a call, sampled every millisecond."""

    def resident_mib() -> float:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    seen = [resident_mib()]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            seen.append(resident_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    done.set()
    watcher.join()
    return max(seen) - seen[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--sides', type=int, nargs='+', default=[512])
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--memory-of', choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument('--training', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        run(options.memory_of, 64, training=options.training)  # one-time allocations come first
        print(
            growth_mib(lambda: run(options.memory_of, options.sides[0], training=options.training))
        )
        return
    for side_px in options.sides:
        for training in (False, True):
            seconds: dict[str, list[tuple[float, float]]] = {method: [] for method in METHODS}
            results: dict[str, list[Tensor]] = {}
            for _ in range(options.repeats + 1):
                for method in METHODS:
                    took, results[method] = run(method, side_px, training=training)
                    seconds[method].append(took)
            medians, cpu_medians = {}, {}
            for method, all_seconds in seconds.items():
                walls, cpus = zip(*all_seconds[1:], strict=True)
                low, medians[method], high = statistics.quantiles(walls, n=4)
                cpu_medians[method] = statistics.median(cpus)
                print(
                    f'{side_px:5d} px  {"forward + backward" if training else "forward":18s}  '
                    f'{method:12s} median {1e3 * medians[method]:7.1f} ms  '
                    f'IQR {1e3 * (high - low):6.1f} ms  CPU {1e3 * cpu_medians[method]:7.1f} ms  '
                    f'peak + {peak_mib(method, side_px, training=training):6.0f} MiB'
                )
            skip = at_kinks(side_px)
            rounded = largest_difference(results['ours'], results['grid_sample'], skip=skip)
            exact = {
                method: run(method, side_px, training=training, kind=torch.float64)[1]
                for method in METHODS
            }
            against = {
                method: largest_difference(found, exact['grid_sample'])
                for method, found in results.items()
            }
            print(
                f'          {medians["grid_sample"] / medians["ours"]:.2f} × faster '
                f'({cpu_medians["grid_sample"] / cpu_medians["ours"]:.2f} × in CPU time); largest '
                f'difference {rounded:.1e} in float32'
                + (f' without {skip.sum()} of {skip.numel()} slopes' if training else '')
                + f', {largest_difference(exact["ours"], exact["grid_sample"]):.1e} in float64; '
                f'float32 against float64: ours {against["ours"]:.1e}, grid_sample '
                f'{against["grid_sample"]:.1e}'
            )


if __name__ == '__main__':
    main()
