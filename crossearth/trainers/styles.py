"""Style injection with the styles of a folder, of a dataset or of the synthetic Earth."""

import hashlib
import os
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from crossearth import __version__, synthetic
from crossearth.datasets import SceneDataset, read_scene_styles, read_style_images
from crossearth.rasters import cache_folder
from crossearth.synthetic import SyntheticEarth
from crossearth.tensor_files import write_tensors
from crossearth.transforms import FourierStyle

__all__ = ['fourier_style', 'fourier_style_of', 'fourier_style_of_earth']

_DRAWN_PX, _STYLE_PX = 160, 128  # sides of synthetic images, and of the part that is used


def fourier_style(
    images: str | os.PathLike[str],
    *,
    p: float = 0.5,
    beta: float = 0.01,
    alpha_range: tuple[float, float] = (0.0, 1.0),
    limit: int | None = None,
    seed: int | None = None,
    draw_per: Literal['sample', 'batch'] = 'sample',
) -> FourierStyle:
    """`FourierStyle` with the styles of all images under a folder.

    Args:
        images: Folder of unlabelled images of 8 bits, any size; their first three bands are used.
        p: Probability that a sample is styled.
        beta: Cut-off of the frequencies whose amplitudes change, as a fraction of the image.
        alpha_range: Range of the strength.
        limit: Maximum number of images to read, spread evenly over the folder; None for all.
        seed: Seed of its own generator; None draws from torch's global generator, which the seed
            of the training run sets.
        draw_per: Whether each sample draws with probability `p`, or each batch.

    Raises:
        SceneNotFoundError: If the folder is missing or empty.
        BandError: If an image has fewer than three bands.
    """
    return FourierStyle(
        read_style_images(images, limit=limit),
        p=p,
        beta=beta,
        alpha_range=alpha_range,
        generator=None if seed is None else torch.Generator().manual_seed(seed),
        draw_per=draw_per,
    )


def fourier_style_of(
    scenes: SceneDataset,
    *,
    p: float = 0.5,
    beta: float = 0.01,
    alpha_range: tuple[float, float] = (0.0, 1.0),
    limit: int = 256,
    seed: int | None = None,
    draw_per: Literal['sample', 'batch'] = 'sample',
) -> FourierStyle:
    """`FourierStyle` with the styles of the images of a dataset, such as the source itself.

    All bands are styled, whatever their pixel type, as training sees them.

    Args:
        scenes: Images; labels are not used. With those of an unseen domain it becomes adaptation.
        p: See `fourier_style`.
        beta: See `fourier_style`.
        alpha_range: See `fourier_style`.
        limit: Maximum number of scenes to read, spread evenly over the dataset.
        seed: See `fourier_style`.
        draw_per: See `fourier_style`.

    Raises:
        SceneError: If no scene holds data, or one cannot be read.
    """
    return FourierStyle(
        read_scene_styles(scenes, limit=limit),
        p=p,
        beta=beta,
        alpha_range=alpha_range,
        generator=None if seed is None else torch.Generator().manual_seed(seed),
        draw_per=draw_per,
    )


def fourier_style_of_earth(
    *,
    images: int = 128,
    p: float = 0.5,
    beta: float = 0.01,
    alpha_range: tuple[float, float] = (0.0, 1.0),
    seed: int | None = None,
    draw_per: Literal['sample', 'batch'] = 'sample',
) -> FourierStyle:
    """`FourierStyle` with the styles of the synthetic Earth, which needs no image files.

    The images are those of `SyntheticEarth(0).write_style`: regions, climates and seasons, sensors,
    haze, light and tone curves, two thirds in RGB and the others in IR-R-G. They are drawn at
    the first call, in about 50 ms each, and kept in the cache folder. `docs/evidence.md` compares
    them with photographs as a source of styles.

    Args:
        images: Number of images to draw.
        p: See `fourier_style`.
        beta: See `fourier_style`.
        alpha_range: See `fourier_style`.
        seed: See `fourier_style`.
        draw_per: See `fourier_style`.

    Raises:
        ConfigError: If `images` is below 1.

    Example:
        >>> len(fourier_style_of_earth(images=2).amplitudes)
        2
    """
    return FourierStyle(
        _drawn_styles(images),
        p=p,
        beta=beta,
        alpha_range=alpha_range,
        generator=None if seed is None else torch.Generator().manual_seed(seed),
        draw_per=draw_per,
    )


@lru_cache(maxsize=1)
def _drawn_styles(images: int) -> Float32[Tensor, 'n 3 s s']:
    """Synthetic images, drawn once and then read from the cache.

    A cache that cannot be read or written is not an error: the images are then drawn again.
    """
    kept = cache_folder() / 'styles' / f'earth-{images}-{_drawing_code()}.safetensors'
    try:
        drawn = load_file(kept)['images']
        if drawn.shape != (images, 3, _DRAWN_PX, _DRAWN_PX) or drawn.dtype != torch.uint8:
            raise ValueError('the file holds other tensors')
    except (OSError, SafetensorError, KeyError, ValueError):
        arrays = SyntheticEarth(0).draw_style(images=images, size_px=_DRAWN_PX)
        drawn = torch.stack([torch.from_numpy(array) for array in arrays])
        with suppress(OSError, SafetensorError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_tensors(kept, {'images': drawn}, {})
    return torch.stack([adaptive_avg_pool2d(image / 255, _STYLE_PX) for image in drawn])


def _drawing_code() -> str:
    """Digest of the code that draws, so that another version never reads these images."""
    digest = hashlib.sha256(__version__.encode())
    for file in sorted(Path(synthetic.__path__[0]).glob('*.py')):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
