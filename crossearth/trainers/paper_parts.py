"""The paper's Earth-Style Injection and masking, built from plain arguments."""

import os
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.segmenter import IMAGENET_MEAN
from crossearth.models.style import load_style_predictor, load_style_transformer
from crossearth.transforms import EarthStyle, EarthStyleInjection, PatchMask

__all__ = ['earth_style', 'patch_mask']

type Path = str | os.PathLike[str]


def earth_style(
    style: Path,
    *,
    patch_size: int | None,
    ratio: float,
    predictor: Path | None = None,
    transformer: Path | None = None,
    alpha: float = 0.1,
    p: float = 0.1,
    covariance: Literal['full', 'diagonal'] = 'full',
    polarity: Literal['release', 'paper'] = 'release',
    grid: Literal['paper', 'release'] = 'paper',
    seed: int | None = None,
) -> EarthStyleInjection:
    """`EarthStyleInjection` with a fitted distribution of styles and networks from files.

    Args:
        style: File that `crossearth style fit` wrote.
        patch_size: Side of a patch B in pixels; None styles whole images.
        ratio: τ, the expected fraction of styled patches.
        predictor: File of the style predictor that the distribution was fitted with; None for the
            published full-width weights, which are downloaded once.
        transformer: File of the style transformer, from the same source as the predictor; None for
            the published weights.
        alpha: Weight of the drawn style.
        p: Probability that a sample is styled.
        covariance: See `EarthStyle.sample`.
        polarity: See `EarthStyleInjection`.
        grid: See `patch_grid`.
        seed: Seed of its own generator; None draws from torch's global generator.

    Raises:
        CheckpointError: If a file does not exist, is damaged, or holds something else.
        ConfigError: If only one of the networks is given, or an argument is out of range.
    """
    if (predictor is None) != (transformer is None):
        raise ConfigError(
            f'predictor is {predictor} and transformer {transformer}: they work together only if '
            'they come from the same source, so pass both, or neither'
        )
    return EarthStyleInjection(
        EarthStyle.load(os.fspath(style)),
        load_style_predictor() if predictor is None else load_style_predictor(os.fspath(predictor)),
        load_style_transformer()
        if transformer is None
        else load_style_transformer(os.fspath(transformer)),
        patch_size=patch_size,
        ratio=ratio,
        alpha=alpha,
        p=p,
        covariance=covariance,
        polarity=polarity,
        grid=grid,
        generator=None if seed is None else torch.Generator().manual_seed(seed),
    )


def patch_mask(
    patch_size: int,
    ratio: float,
    *,
    prompt: Sequence[float] = IMAGENET_MEAN,
    learnt: bool = True,
    grid: Literal['paper', 'release'] = 'paper',
    seed: int | None = None,
) -> PatchMask:
    """`PatchMask` with one colour in masked patches, which may be learnt.

    Args:
        patch_size: Side of a patch B in pixels.
        ratio: τ, the expected fraction of masked patches.
        prompt: Initial v, one value per band in [0, 1].
        learnt: Whether v is trained, too.
        grid: See `patch_grid`.
        seed: Seed of its own generator; None draws from torch's global generator.

    Raises:
        ConfigError: If an argument is out of range.

    Source:
        The released training run learns v from zeros in normalised units, here the mean colour.

    Example:
        >>> mask = patch_mask(16, 0.7, prompt=(0.5, 0.4, 0.3))
        >>> mask.prompt.shape, mask.prompt.requires_grad
        (torch.Size([3, 1, 1]), True)
    """
    colour = torch.tensor(tuple(prompt), dtype=torch.float32).view(-1, 1, 1)
    return PatchMask(
        patch_size,
        ratio,
        prompt=nn.Parameter(colour) if learnt else colour,
        grid=grid,
        generator=None if seed is None else torch.Generator().manual_seed(seed),
    )
