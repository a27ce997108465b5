"""A training step of CrossEarth against the plain composition of timm and transformers.

    python performance/training_step.py --device cuda --model large --side 512 --batch 1 8
    python performance/training_step.py --model small --side 64 --batch 2   # steps through on a CPU

Each way computes L_Seg of an image in a style, and L_MIM and L_Δ of a masked and a styled one,
forwards and backwards, with AdamW. *plain* is what one would write first: timm's transformer,
transformers' Mask2Former with its loss, and one pass of everything after another. It has no
adapter, so it has less to compute. Ways take turns, and the first turns are not counted.

The share of the matrix rate is the arithmetic of a step by PyTorch's count, over the time it takes,
over what large matrix products in bf16 reach on the same device in the same run. Numbers of the
small model on a CPU say that the script runs, and nothing about a GPU.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.mask2former import modeling_mask2former as theirs

from crossearth.labels import ISPRS
from crossearth.models import CrossEarth, crossearth_vit_large, crossearth_vit_small
from crossearth.trainers import CrossEarthTraining
from crossearth.transforms import PatchMask

TRANSFORMERS = {'small': 'vit_small_patch14_dinov2', 'large': 'vit_large_patch14_dinov2'}
BUILDERS = {'small': crossearth_vit_small, 'large': crossearth_vit_large}
DEPTHS = {'small': (2, 5, 8, 11), 'large': (7, 11, 15, 23)}
PRECISIONS = ('bf16', 'fp32')
WARM_UP = 3


class Tinted(nn.Module):
    """A style for every image, at no cost: what is timed is the model."""

    def forward(self, image: Tensor) -> Tensor:
        """Another contrast."""
        return image * 0.9 + 0.05


class Plain(nn.Module):
    """A frozen ViT of timm, a simple pyramid, transformers' Mask2Former, and a restoring head."""

    def __init__(self, size: str, side: int) -> None:
        super().__init__()
        self.vit = timm.create_model(
            TRANSFORMERS[size], img_size=side, patch_size=16, dynamic_img_size=True, num_classes=0
        ).requires_grad_(False)
        self.depths = DEPTHS[size]
        dim = self.vit.embed_dim
        self.pyramid = nn.ModuleList(
            [
                nn.Sequential(
                    nn.ConvTranspose2d(dim, dim, 2, 2),
                    nn.GELU(),
                    nn.ConvTranspose2d(dim, dim, 2, 2),
                ),
                nn.ConvTranspose2d(dim, dim, 2, 2),
                nn.Identity(),
                nn.MaxPool2d(2),
            ]
        )
        config = theirs.Mask2FormerConfig(
            num_queries=100, num_labels=ISPRS.num_classes, encoder_layers=6, decoder_layers=10
        )
        self.pixels = theirs.Mask2FormerPixelDecoder(config, [dim] * 4)
        self.transformer = theirs.Mask2FormerTransformerModule(config.feature_size, config)
        self.classify = nn.Linear(config.hidden_dim, ISPRS.num_classes + 1)
        weights = {'loss_cross_entropy': 2.0, 'loss_mask': 5.0, 'loss_dice': 5.0}
        self.criterion = theirs.Mask2FormerLoss(config, weights)
        self.restorer = nn.Sequential(nn.Conv2d(4 * dim, 256, 3, padding=1), nn.ReLU())
        self.image = nn.Conv2d(256, 3, 1)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Maps at strides 4, 8, 16 and 32."""
        maps = self.vit.forward_intermediates(
            image, indices=list(self.depths), output_fmt='NCHW', intermediates_only=True
        )
        return [level(part) for level, part in zip(self.pyramid, maps, strict=True)]

    def restore(self, image: Tensor) -> Tensor:
        """The restored image."""
        maps = self.encode(image)
        joined = torch.cat([F.interpolate(level, maps[0].shape[-2:]) for level in maps], dim=1)
        return F.interpolate(self.image(self.restorer(joined)), image.shape[-2:])

    def loss(self, batch: dict[str, Tensor], masked: Tensor, styled: Tensor) -> Tensor:
        """L_Seg + L_MIM + L_Δ, one pass after another."""
        pixels = self.pixels(self.encode(styled), return_dict=True)
        found = self.transformer(pixels.multi_scale_features, pixels.mask_features)
        ids = [labels[labels != 255].unique() for labels in batch['mask']]
        segments = [
            (labels == i[:, None, None]).float()
            for labels, i in zip(batch['mask'], ids, strict=True)
        ]
        total = torch.zeros((), device=styled.device)
        states = found.intermediate_hidden_states
        for state, masks in zip(states, found.masks_queries_logits, strict=True):
            terms = self.criterion(masks, self.classify(state.transpose(0, 1)), segments, ids)
            for name, weight in self.criterion.weight_dict.items():
                total = total + weight * terms[name]
        of_masked, of_styled = self.restore(masked), self.restore(styled)
        mim = F.mse_loss(of_masked, batch['image']) + F.mse_loss(of_styled, batch['image'])
        return total + mim + F.l1_loss(of_masked, of_styled)


def ours(size: str, side: int) -> tuple[nn.Module, Callable[[dict[str, Tensor]], Tensor]]:
    model: CrossEarth = BUILDERS[size](ISPRS.num_classes, img_size=side)
    method = CrossEarthTraining(
        model, ISPRS, mask=PatchMask(patch_size=32, ratio=0.7), style=Tinted()
    )
    return method, lambda batch: torch.stack(list(method.losses(batch).values())).sum()


def plain(size: str, side: int) -> tuple[nn.Module, Callable[[dict[str, Tensor]], Tensor]]:
    model, mask, style = Plain(size, side), PatchMask(patch_size=32, ratio=0.7), Tinted()
    return model, lambda batch: model.loss(batch, mask(batch['image']), style(batch['image']))


WAYS = {'plain': plain, 'ours': ours}


class Way:
    """One way on one device in one precision: a step, its arithmetic and its memory."""

    def __init__(self, name: str, args: argparse.Namespace, precision: str) -> None:
        torch.manual_seed(0)
        self.module, self.loss = WAYS[name](args.model, args.side)
        self.module.to(args.device).train()
        trained = [p for p in self.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4)
        self.device, self.precision = torch.device(args.device), precision

    def _context(self) -> AbstractContextManager[Any]:
        if self.precision == 'fp32':
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def step(self, batch: dict[str, Tensor]) -> float:
        """A whole training step; its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._context():
            loss = self.loss(batch)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())  # waits for the device

    def flops(self, batch: dict[str, Tensor]) -> int:
        """Operations of a step, as PyTorch counts them."""
        with FlopCounterMode(display=False) as counter:
            self.step(batch)
        return counter.get_total_flops()

    def peak_bytes(self, batch: dict[str, Tensor]) -> int | None:
        """Memory of a step on a GPU."""
        if self.device.type != 'cuda':
            return None
        torch.cuda.reset_peak_memory_stats()
        self.step(batch)
        return torch.cuda.max_memory_allocated()


def matrix_rate(device: torch.device) -> float:
    """Operations per second of large bf16 matrix products; the median of 20."""
    side = 8192 if device.type == 'cuda' else 512
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(25):
        start = time.perf_counter()
        product = left @ right
        float(product[0, 0])
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(seconds[5:])


def batch_of(size: int, side: int, device: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, ISPRS.num_classes, (size, 4, 4), generator=generator)
    mask = blocks.repeat_interleave(side // 4, 1).repeat_interleave(side // 4, 2)
    image = torch.rand(size, 3, side, side, generator=generator)
    return {'image': image.to(device), 'mask': mask.to(device)}


def measure(size: int, precision: str, rate: float, args: argparse.Namespace) -> dict[str, Any]:
    ways = {name: Way(name, args, precision) for name in WAYS}
    batch = batch_of(size, args.side, args.device)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(WARM_UP + args.repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            loss = way.step(batch)
            if loss != loss:
                sys.exit(f'{name}, {precision}: the loss is not a number')
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
    rows: dict[str, Any] = {'batch': size, 'precision': precision}
    for name, way in ways.items():
        low, median, high = statistics.quantiles(seconds[name], n=4)
        flops, peak = way.flops(batch), way.peak_bytes(batch)
        rows[name] = {
            'seconds': median,
            'quartiles': [low, high],
            'flops': flops,
            'share_of_matrix_rate': flops / median / rate,
            'peak_bytes': peak,
        }
        memory = '' if peak is None else f', peak {peak / 2**30:.2f} GiB'
        print(
            f'batch {size}, {precision}, {name}: {median * 1e3:.1f} ms '
            f'(IQR {low * 1e3:.1f}–{high * 1e3:.1f}), {flops / 1e12:.3f} TFLOP, '
            f'{flops / median / rate:.1%} of the matrix rate{memory}',
            flush=True,
        )
    rows['ratio'] = rows['plain']['seconds'] / rows['ours']['seconds']
    print(f'batch {size}, {precision}: ours is {rows["ratio"]:.2f} × as fast as plain', flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--model', choices=list(BUILDERS), default='small')
    parser.add_argument('--side', type=int, default=64, help='pixels of an image, of 32')
    parser.add_argument('--batch', type=int, nargs='+', default=[2])
    parser.add_argument(
        '--precision', nargs='+', choices=['bf16', 'fp32'], default=['bf16', 'fp32']
    )
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--json', type=Path, help='file that the numbers are written to')
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = torch.device(args.device)
    name = torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'
    rate = matrix_rate(device)
    print(f'torch {torch.__version__}, {name}: {rate / 1e12:.2f} TFLOP/s in bf16 products')
    rows = [
        measure(size, precision, rate, args) for precision in args.precision for size in args.batch
    ]
    if args.json is not None:
        versions = {'torch': torch.__version__, 'timm': timm.__version__}
        facts = {'device': name, 'versions': versions, 'matrix_rate': rate, 'model': args.model}
        args.json.write_text(json.dumps({**facts, 'side': args.side, 'rows': rows}, indent=1))


if __name__ == '__main__':
    main()
