"""Scores the rules that merge several sizes, on images of the source that have other sizes.

    python performance/merging.py data/roads/massachusetts/val --weights model.safetensors

A model whose training images have no known pixel size sees new scenes at several sizes, since
theirs may be finer. Images of the source are enlarged and shrunk here to stand for such scenes, so
that a rule is chosen where labels are known. Prints the IoU of class 1 by how much the images
were enlarged, for each size alone and for each rule.
"""

import argparse
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import Tensor
from torch.nn import functional as F

from crossearth import load_model
from crossearth.inference.merging import Merge, merge_scores
from crossearth.models.padding import pad_to_multiple

RULES: tuple[Merge, ...] = ('mean', 'max', 'top2')
ROAD = 1


def read(folder: Path, every: int, threshold: int) -> list[tuple[Tensor, Tensor]]:
    """Images (1, 3, h, w) in [0, 1], of 8-bit RGB, and masks of class 1 (h, w)."""
    pairs = []
    for path in sorted((folder / 'images').iterdir())[::every]:
        (mask_path,) = (folder / 'masks').glob(f'{path.stem}.*')
        with rasterio.open(path) as image, rasterio.open(mask_path) as mask:
            pixels, truth = image.read((1, 2, 3)), mask.read(1) > threshold
        pairs.append((torch.from_numpy(pixels)[None].float() / 255, torch.from_numpy(truth)))
    if not any(truth.any() for _, truth in pairs):
        raise SystemExit(f'no mask has a value above {threshold}: pass --threshold 0 for ids 0, 1')
    return pairs


def resize(images: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return images
    return F.interpolate(images, scale_factor=factor, mode='bilinear', antialias=True)


def probabilities(model: torch.nn.Module, image: Tensor, side: torch.Size) -> np.ndarray:
    """Probabilities of all classes, (k, h, w), brought to another size."""
    height, width = image.shape[-2:]
    logits = model(pad_to_multiple(image, 32, 32))[..., :height, :width]
    found = F.interpolate(logits.softmax(1), size=side, mode='bilinear', antialias=True)
    return found[0].numpy()


def score(
    model: torch.nn.Module, pairs: list[tuple[Tensor, Tensor]], enlarged: float, sizes: list[float]
) -> dict[str, float]:
    """IoU in % of class 1, by rule and by size."""
    counts: dict[str, list[int]] = {}
    for image, truth in pairs:
        shown = resize(image, enlarged)
        single = [probabilities(model, resize(shown, size), truth.shape) for size in sizes]
        known = [np.ones(truth.shape, bool)] * len(single)
        merged = {f'{size:g}': one for size, one in zip(sizes, single, strict=True)}
        for rule in RULES:
            class_id = None if rule == 'mean' else ROAD
            merged[rule], _ = merge_scores(single, known, rule, class_id=class_id)
        for name, scores in merged.items():
            found = torch.from_numpy(scores.argmax(0) == ROAD)
            count = counts.setdefault(name, [0, 0])
            count[0] += int((found & truth).sum())
            count[1] += int((found | truth).sum())
    return {name: 100 * hits / max(either, 1) for name, (hits, either) in counts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path, help='folder of images and masks of the source')
    parser.add_argument('--threshold', type=int, default=127, help='class 1 lies above it')
    parser.add_argument('--every', type=int, default=1, help='take every n-th image')
    parser.add_argument('--sizes', type=float, nargs='+', default=[1, 0.7, 0.5])
    parser.add_argument('--enlarged', type=float, nargs='+', default=[0.7, 1, 1.4, 2])
    parser.add_argument('--weights', type=Path, nargs='+', required=True)
    args = parser.parse_args()
    pairs = read(args.data, args.every, args.threshold)
    for weights in args.weights:
        model = load_model(weights).eval()
        print(f'{weights}: {len(pairs)} images')
        for enlarged in args.enlarged:
            with torch.inference_mode():
                found = score(model, pairs, enlarged, args.sizes)
            print(
                f'  {enlarged:g} times their size:',
                ', '.join(f'{name} {iou:.1f}' for name, iou in found.items()),
                flush=True,
            )


if __name__ == '__main__':
    main()
