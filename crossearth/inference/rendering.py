"""Turns finished rows of scores into rasters: class ids, probabilities, confidence, entropy."""

import math
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from crossearth.inference.decision import Decision
from crossearth.inference.stitching import require_finite
from crossearth.inference.writer import Layer

__all__ = [
    'NO_PROBABILITY',
    'Product',
    'entropy',
    'probability_layer',
    'quantise',
    'render_rows',
    'score_layer',
]

type Product = Literal['labels', 'probabilities', 'confidence', 'entropy', 'scores']

_STEPS = 254
NO_PROBABILITY = 255
"""Value of a pixel without data in rasters of probabilities."""


def quantise(values: Float[Tensor, '*shape']) -> UInt8[Tensor, '*shape']:
    """Numbers in [0, 1] as bytes 0–254; 255 is reserved for nodata.

    Example:
        >>> quantise(torch.tensor([0.0, 0.5, 1.0])).tolist()
        [0, 127, 254]
    """
    scaled = (values * _STEPS).round_().clamp_(0, _STEPS)
    return scaled.to(torch.uint8)


def entropy(probabilities: Float[Tensor, 'k h w']) -> Float[Tensor, 'h w']:
    """Entropy in [0, 1]: 0 if one class has probability 1, 1 if all classes are equally likely.

    Example:
        >>> entropy(torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]])).tolist()
        [[0.0, 1.0]]
    """
    nats: Tensor = torch.special.entr(probabilities).sum(0)
    # one class alone would divide by log 1 = 0
    return nats / math.log(max(probabilities.shape[0], 2))


def probability_layer(product: Product, num_classes: int, names: tuple[str, ...]) -> Layer:
    """The raster of `'probabilities'` (one band per class), `'confidence'` or `'entropy'`.

    Args:
        product: Which of the three.
        num_classes: Number of classes.
        names: Class names; empty for none.
    """
    bands = names or tuple(f'class {index}' for index in range(num_classes))
    if product != 'probabilities':
        bands = (product,)
    return Layer(
        'uint8',
        len(bands),
        NO_PROBABILITY,
        {},
        {'NUM_CLASSES': str(num_classes)},
        bands,
        1 / _STEPS,
    )


def score_layer(num_classes: int) -> Layer:
    """The raster of averaged scores, an intermediate step between two grids."""
    return Layer('float32', num_classes, math.nan, {}, {})


def render_rows(
    parts: list[Float[Tensor, 'k _ w']],
    valid: Bool[np.ndarray, 'h w'],
    *,
    layers: dict[Product, Layer],
    decision: Decision,
) -> dict[Product, Shaped[np.ndarray, 'c h w']]:
    """Rasters of some finished rows.

    Args:
        parts: Averaged probabilities or logits, in row order; not changed.
        valid: True where a pixel has data.
        layers: Requested rasters.
        decision: How classes are chosen.

    Returns:
        One array per layer, with the layer's nodata where there is no data.
    """
    rows = {
        product: np.empty((layer.count, *valid.shape), layer.dtype)
        for product, layer in layers.items()
    }
    first = 0
    for sums in parts:
        here = slice(first, first + sums.shape[1])
        first = here.stop
        if 'labels' in rows:
            decision.choose(sums, out=torch.from_numpy(rows['labels'][0, here]))
        if 'scores' in rows:
            # one sum finds NaN and infinity without an array as large as the scores
            require_finite(bool(torch.isfinite(sums.sum())))
            rows['scores'][:, here] = sums.cpu().numpy()
        if not rows.keys() & {'probabilities', 'confidence', 'entropy'}:
            continue
        probabilities = decision.probabilities(sums)
        if 'probabilities' in rows:
            rows['probabilities'][:, here] = quantise(probabilities).cpu().numpy()
        if 'confidence' in rows:
            chosen = probabilities.amax(0)
            # a class that a threshold has chosen need not be the most likely one
            if decision.thresholds and 'labels' in rows:
                ids = torch.from_numpy(rows['labels'][:, here].astype(np.int64))
                chosen = probabilities.cpu().gather(0, ids)[0]
            rows['confidence'][0, here] = quantise(chosen).cpu().numpy()
        if 'entropy' in rows:
            rows['entropy'][0, here] = quantise(entropy(probabilities)).cpu().numpy()
    for product, layer in layers.items():
        rows[product][:, ~valid] = layer.nodata
    return rows
