"""What the QGIS plugin Deepness makes of a raster with a model file, read from its description.

Not its code: the rules are told in its documentation for creators of models, and in what its
classes for metadata, tiles and segmentation do.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime


@dataclass(frozen=True)
class PluginModel:
    """A model file as the plugin understands it."""

    session: onnxruntime.InferenceSession
    meta: dict[str, object]

    @classmethod
    def of(cls, path: Path) -> 'PluginModel':
        session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
        raw = session.get_modelmeta().custom_metadata_map
        return cls(session, {key: json.loads(value) for key, value in raw.items()})

    @property
    def classes(self) -> list[str]:
        named = sorted(self.meta['class_names'].items(), key=lambda pair: int(pair[0]))
        assert [int(key) for key, _ in named] == list(range(len(named)))  # else it raises
        return [name for _, name in named]

    def check(self) -> None:
        """The error that it shows instead of loading a model."""
        (given,) = self.session.get_inputs()
        (made,) = self.session.get_outputs()
        batch, bands, height, width = given.shape
        assert given.type == 'tensor(float)'
        assert batch == 1  # older versions take nothing else
        assert height == width == self.meta['tile_size']
        assert made.shape == [1, len(self.classes), height, width]
        assert str(self.meta['model_type']).capitalize() == 'Segmentor'
        assert len(self.meta['standardization_mean']) == bands
        assert len(self.meta['standardization_std']) == bands

    def classify(self, tile: np.ndarray) -> np.ndarray:
        """Class ids of a tile of bytes (h, w, c)."""
        values = np.float32(tile[None] * 1.0 / 255.0)
        mean, std = (
            np.array(self.meta[f'standardization_{name}'], np.float32) for name in ('mean', 'std')
        )
        values = ((values - mean) / std).transpose(0, 3, 1, 2)
        (name,) = (item.name for item in self.session.get_inputs())
        probabilities = self.session.run(None, {name: values})[0]
        probabilities[probabilities < float(self.meta['seg_thresh'])] = 0
        return probabilities.argmax(1)[0]

    def map(self, image: np.ndarray) -> np.ndarray:
        """Class ids of a raster of bytes (c, h, w) whose pixels have the model's resolution.

        Rows are added above it and columns right of it until whole tiles fit; of each tile the
        inner part is kept, up to the middle of what it shares with the next one.
        """
        side = int(self.meta['tile_size'])
        overlap = int(side * int(self.meta['tiles_overlap']) / 100 * 2) // 2
        stride, margin = side - overlap, overlap // 2
        _, height, width = image.shape
        up, right = _missing(height, side, stride), _missing(width, side, stride)
        padded = np.pad(image, ((0, 0), (up, 0), (0, right))).transpose(1, 2, 0)
        full = np.zeros(padded.shape[:2], np.int64)
        tops = range(0, padded.shape[0] - side + 1, stride)
        lefts = range(0, padded.shape[1] - side + 1, stride)
        for top in tops:
            for left in lefts:
                ids = self.classify(padded[top : top + side, left : left + side])
                rows = slice(top and margin, side if top == tops[-1] else side - margin)
                cols = slice(left and margin, side if left == lefts[-1] else side - margin)
                full[top : top + side, left : left + side][rows, cols] = ids[rows, cols]
        assert self.meta['seg_small_segment'] == 0  # a median of one pixel follows
        return full[up:, :width]


def _missing(length: int, side: int, stride: int) -> int:
    return side - length if length <= side else -(length - side) % stride
