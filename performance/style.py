"""Throughput of Earth-Style Injection, FourierStyle and the style predictors.

    python performance/style.py [--device cuda] [--batch 8] [--side 256] [--repeats 7]

Compares batched injection with the method of the reference implementation: one image at a time,
default memory layout, `InstanceNorm2d`. Both style all images (p = 1). Prints medians and
interquartile ranges over repeats. The two take turns, so that load slows both alike.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from crossearth.models.style import GhiasiTransformer, MobileStylePredictor, StylePredictor
from crossearth.transforms import EarthStyle, EarthStyleInjection, FourierStyle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--side', type=int, default=256)
    parser.add_argument('--repeats', type=int, default=7)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument(
        '--networks', nargs='+', choices=['full', 'light'], default=['full', 'light']
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    name = torch.cuda.get_device_name() if device.type == 'cuda' else f'{args.threads} threads'
    print(f'torch {torch.__version__}, {device} ({name}), batch {args.batch} of {args.side}²')
    torch.manual_seed(0)
    image = torch.rand(args.batch, 3, args.side, args.side, device=device)
    style = EarthStyle(torch.zeros(100), torch.eye(100) * 0.25)
    pairs = {
        'full': (StylePredictor(), GhiasiTransformer()),
        'light': (
            MobileStylePredictor(),
            GhiasiTransformer((8, 16, 32), contract_norm=False),
        ),
    }
    for kind in args.networks:
        predictor, transformer = (network.to(device) for network in pairs[kind])
        inject, never = (
            EarthStyleInjection(style, predictor, transformer, patch_size=64, ratio=0.5, p=p)
            for p in (1.0, 0.0)
        )
        # the light networks have no reference, so compare with the same code image by image
        alone = Reference(predictor, transformer) if kind == 'full' else inject
        ways = {
            'one by one': lambda alone=alone: [alone(one[None]) for one in image],
            'batched': lambda inject=inject: inject(image),
            'batched, no sample drawn': lambda never=never: never(image),
        }
        compare(f'EarthStyleInjection, {kind}', ways, args, device)
    fourier = FourierStyle(torch.rand(64, 3, 128, 128), p=1.0).to(device)
    compare('FourierStyle', {'batched': lambda: fourier(image)}, args, device)


class Reference(nn.Module):
    """The full networks in PyTorch's default layout, with its own instance normalisation."""

    def __init__(self, predictor: StylePredictor, transformer: GhiasiTransformer) -> None:
        super().__init__()
        self.predictor = copy.deepcopy(predictor).to(memory_format=torch.contiguous_format)
        self.transformer = copy.deepcopy(transformer).to(memory_format=torch.contiguous_format)

    def embed(self, image: Tensor) -> Tensor:
        """Run the predictor without its change of memory layout."""
        trunk = self.predictor
        features = trunk.shift + image * trunk.scale
        for layer in (trunk.Conv2d_1a_3x3, trunk.Conv2d_2a_3x3, trunk.Conv2d_2b_3x3):
            features = layer(features)
        features = nn.functional.max_pool2d(features, 3, 2)
        features = trunk.Conv2d_4a_3x3(trunk.Conv2d_3b_1x1(features))
        features = nn.functional.max_pool2d(features, 3, 2)
        for name in ('5b', '5c', '5d', '6a', '6b', '6c', '6d', '6e'):
            features = getattr(trunk, f'Mixed_{name}')(features)
        return trunk.fc(features.mean((2, 3)))

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Styled patches of an image."""
        drawn = torch.randn(len(image), 100, device=image.device) / 2
        style = 0.1 * drawn + 0.9 * self.embed(image)
        features = image
        for layer in self.transformer.contract:
            features = _convolved(features, layer.conv).relu()
        for block in self.transformer.repaint[:5]:
            inner = _painted(features, style, block.conv1, block.fc_gamma1, block.fc_beta1).relu()
            features = features + _painted(
                inner, style, block.conv2, block.fc_gamma2, block.fc_beta2
            )
        for block in self.transformer.repaint[5:7]:
            features = nn.functional.interpolate(features, scale_factor=2.0)
            features = _painted(features, style, block.conv, block.fc_gamma, block.fc_beta).relu()
        last = self.transformer.repaint[7]
        painted = _painted(features, style, last.conv, last.fc_gamma, last.fc_beta).sigmoid()
        keep = torch.rand(1, 1, 4, 4, device=image.device) > 0.5
        keep = nn.functional.interpolate(keep.float(), image.shape[-2:])
        return image * keep + painted * (1 - keep)


def _convolved(features: Tensor, conv: nn.Conv2d) -> Tensor:
    padded = nn.functional.pad(features, (conv.kernel_size[0] // 2,) * 4, mode='reflect')
    return nn.functional.instance_norm(conv(padded))


def _painted(
    features: Tensor, style: Tensor, conv: nn.Conv2d, gamma: nn.Linear, beta: nn.Linear
) -> Tensor:
    normal = _convolved(features, conv)
    return gamma(style)[:, :, None, None] * normal + beta(style)[:, :, None, None]


def compare(
    title: str,
    ways: dict[str, Callable[[], object]],
    args: argparse.Namespace,
    device: torch.device,
) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(args.repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if device.type == 'cuda':
                torch.cuda.synchronize()
            if repeat:  # the first repeat warms up
                seconds[name].append(time.perf_counter() - start)
    first = statistics.median(next(iter(seconds.values())))
    for name, times in seconds.items():
        low, median, high = statistics.quantiles(times, n=4)
        print(
            f'{title}, {name}: {median * 1e3:.1f} ms (IQR {low * 1e3:.1f}–{high * 1e3:.1f}, '
            f'best {min(times) * 1e3:.1f}), {args.batch / median:.1f} images/s, '
            f'{first / median:.1f}×',
            flush=True,
        )


if __name__ == '__main__':
    main()
