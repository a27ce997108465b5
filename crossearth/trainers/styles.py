"""Style injection built from a folder of images."""

import os
from typing import Literal

import torch

from crossearth.datasets import read_style_images
from crossearth.transforms import FourierStyle

__all__ = ['fourier_style']


def fourier_style(
    images: str | os.PathLike[str],
    *,
    p: float = 0.5,
    beta: float = 0.01,
    alpha_range: tuple[float, float] = (0.0, 1.0),
    limit: int | None = None,
    seed: int = 0,
    draw_per: Literal['sample', 'batch'] = 'sample',
) -> FourierStyle:
    """`FourierStyle` with the styles of every image below a folder.

    Args:
        images: Folder of unlabelled images of 8 bits, any size; their first three bands are used.
        p: Probability that a sample is styled.
        beta: Cut-off of the frequencies whose amplitudes change, as a fraction of the image.
        alpha_range: Range of the strength.
        limit: Most images that are read, spread evenly over the folder; None for all.
        seed: Seed of the draws.
        draw_per: Whether each sample draws with probability `p`, or each batch.

    Raises:
        SceneNotFoundError: If the folder is missing or empty.
        BandError: If an image has fewer than three bands.
    """
    generator = torch.Generator().manual_seed(seed)
    return FourierStyle(
        read_style_images(images, limit=limit),
        p=p,
        beta=beta,
        alpha_range=alpha_range,
        generator=generator,
        draw_per=draw_per,
    )
