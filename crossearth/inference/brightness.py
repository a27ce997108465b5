"""Notices scenes that look nearly black to a model because of the range of their data type."""

import numpy as np
from jaxtyping import Shaped

from crossearth.imagery import Imagery

__all__ = ['BrightnessMeter']

_USUAL_MEAN = 0.25  # of images in [0, 1], where a model's file does not tell
_DARK = 0.2  # a mean below this share of that of the training images is remarked on


class BrightnessMeter:
    """The mean of the values of a scene, if nothing said which value is white.

    Cameras that store 11 or 12 bits in integers of 16 fill a few percent of the range of the type.
    Bytes fill theirs, and floats are refused without a range, so only wider integers are measured.

    Args:
        dtype: Data type of the scene.
        value_range: Values of the scene that become 0 and 1, if they are stated.

    Example:
        >>> meter = BrightnessMeter(np.dtype('uint16'), None)
        >>> meter.add(np.array([0, 400, 600], np.uint16))
        >>> meter.remark(Imagery())[:45]
        'uint16 values fill little of 0 to 65535, so t'
    """

    def __init__(self, dtype: np.dtype, value_range: tuple[float, float] | None) -> None:
        wide = dtype.kind in 'iu' and dtype.itemsize > 1
        self._dtype = dtype
        self._white = int(np.iinfo(dtype).max) if wide and value_range is None else None
        self._sum = 0.0
        self._count = 0

    def add(self, values: Shaped[np.ndarray, '...']) -> None:
        """Count values as they are in the file. Zero and below are black or no data."""
        if self._white is None:
            return
        self._sum += float(np.maximum(values, 0).sum(dtype=np.float64))
        self._count += int(np.count_nonzero(values > 0))

    def remark(self, known: Imagery) -> str:
        """What is wrong with the brightness, or nothing.

        Args:
            known: What the model was trained on.
        """
        if self._white is None or not self._count:
            return ''
        means = () if known.source is None else known.source.appearance.mean
        expected = sum(means) / len(means) if means else _USUAL_MEAN
        mean = self._sum / self._count
        if mean / self._white >= _DARK * expected:
            return ''
        return (
            f'{self._dtype} values fill little of 0 to {self._white}, so the scene looked much '
            'darker to the model than its training images: pass View(value_range=(low, high)) '
            '(--value-range LOW HIGH)'
        )
