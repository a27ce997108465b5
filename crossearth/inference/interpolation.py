"""Interpolates values between the centres of pixels."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

__all__ = ['between_centres', 'pixel_of']


def between_centres(
    values: Float32[np.ndarray, 'k r s'],
    has_data: Bool[np.ndarray, 'r s'],
    x: Float64[np.ndarray, 'h w'],
    y: Float64[np.ndarray, 'h w'],
) -> tuple[Float32[np.ndarray, 'k h w'], Float32[np.ndarray, 'h w']]:
    """Bilinear sums over the four pixels around each point, and the sums of their weights.

    Pixels without data do not contribute, so divide the sums by the weights. Points beyond the
    outermost pixel centres take the values there.

    Args:
        values: Values to interpolate; they must be finite even where there is no data.
        has_data: True where there is data.
        x: Columns of the points, counted from the left edge.
        y: Rows of the points, counted from the upper edge.

    Example:
        >>> values = np.float32([[[0, 10]]])
        >>> at = np.array([[0.5, 1.0, 1.25]])
        >>> sums, _ = between_centres(values, np.ones((1, 2), bool), at, np.full((1, 3), 0.5))
        >>> sums.tolist()
        [[[0.0, 5.0, 7.5]]]
    """
    sums = np.zeros((len(values), *x.shape), np.float32)
    total = np.zeros(x.shape, np.float32)
    # pixel centres lie at halves, so half a pixel is subtracted
    left, top = np.floor(x - 0.5), np.floor(y - 0.5)
    for down in (0, 1):
        for right in (0, 1):
            weight = (1 - np.abs(x - 0.5 - left - right)) * (1 - np.abs(y - 0.5 - top - down))
            # beyond the outermost centres, the border pixel repeats, so weights still add up to 1
            rows, cols = (
                pixel_of(top + down, values.shape[1]),
                pixel_of(left + right, values.shape[2]),
            )
            share = (weight * has_data[rows, cols]).astype(np.float32)
            total += share
            sums += share * values[:, rows, cols]
    return sums, total


def pixel_of(at: Float64[np.ndarray, 'h w'], length: int) -> Int64[np.ndarray, 'h w']:
    """The pixels that contain the points along an axis; points outside take the outermost pixel."""
    return np.clip(np.floor(at), 0, length - 1).astype(np.int64)
