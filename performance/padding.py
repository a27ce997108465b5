"""Scores small chips whose borders are mirrored or repeated to whole multiples of 32 px.

    python performance/padding.py data/roads/massachusetts/val --chip 107 --weights m.safetensors

Images of the source are cut into chips, so that the choice is made where labels are known. Prints
the IoU of class 1 for both, and their difference with a 95 % interval by the bootstrap of chips.
"""

import argparse
from pathlib import Path

import numpy as np
import rasterio
import torch
from torch import Tensor
from torch.nn import functional as F

from crossearth import load_model
from crossearth.models.padding import pad_to_multiple, to_multiple

BATCH, DRAWS = 16, 1000


def read_chips(folder: Path, side_px: int) -> tuple[Tensor, Tensor]:
    """Images (n, 3, side, side) in [0, 1] and masks of class 1 (n, side, side)."""
    images, masks = [], []
    for path in sorted((folder / 'images').iterdir()):
        (mask_path,) = (folder / 'masks').glob(f'{path.stem}.*')
        with rasterio.open(path) as image, rasterio.open(mask_path) as mask:
            pixels, truth = image.read((1, 2, 3)), mask.read(1) > 0
        for row in range(0, truth.shape[0] - side_px + 1, side_px):
            for col in range(0, truth.shape[1] - side_px + 1, side_px):
                place = np.s_[..., row : row + side_px, col : col + side_px]
                images.append(torch.from_numpy(pixels[place].copy()).float() / 255)
                masks.append(torch.from_numpy(truth[place].copy()))
    return torch.stack(images), torch.stack(masks)


def repeated(images: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    more = (0, to_multiple(width, 32) - width, 0, to_multiple(height, 32) - height)
    return F.pad(images, more, mode='replicate')


def mirrored(images: Tensor) -> Tensor:
    return pad_to_multiple(images, 32, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path, help='folder of images and masks of the source')
    parser.add_argument('--chip', type=int, default=107, help='side in pixels')
    parser.add_argument('--weights', type=Path, nargs='+', required=True)
    args = parser.parse_args()
    images, masks = read_chips(args.data, args.chip)
    generator = np.random.default_rng(0)
    for weights in args.weights:
        model = load_model(weights)
        counts: dict[str, list[Tensor]] = {'repeated': [], 'mirrored': []}
        with torch.inference_mode():
            for name, pad in (('repeated', repeated), ('mirrored', mirrored)):
                for start in range(0, len(images), BATCH):
                    part, truth = images[start : start + BATCH], masks[start : start + BATCH]
                    logits = model(pad(part))[..., : args.chip, : args.chip]
                    found = logits.argmax(1) == 1
                    both = [(found & truth).sum((1, 2)), (found | truth).sum((1, 2))]
                    counts[name].append(torch.stack(both, 1))
        old, new = (torch.cat(counts[name]).numpy() for name in counts)

        def iou(rows: np.ndarray) -> float:
            return 100 * float(rows[:, 0].sum() / rows[:, 1].sum())

        draws = generator.integers(0, len(images), (DRAWS, len(images)))
        low, high = np.percentile([iou(new[rows]) - iou(old[rows]) for rows in draws], (2.5, 97.5))
        print(
            f'{weights}: {len(images)} chips of {args.chip} px, repeated {iou(old):.1f}, mirrored '
            f'{iou(new):.1f}, difference {iou(new) - iou(old):+.1f} ({low:+.1f} … {high:+.1f})'
        )


if __name__ == '__main__':
    main()
