"""Writes predictions as label maps in the encoding of their dataset."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from crossearth.datasets import ArchiveDataset, SceneDataset
from crossearth.errors import ConfigError
from crossearth.geometry import Window
from crossearth.inference.label_files import write_labels
from crossearth.labels import IGNORE_INDEX, ColourCodec, IdCodec, LabelCodec, ThresholdCodec

__all__ = ['PredictionFiles', 'encode_labels', 'prediction_path']


def encode_labels(ids: UInt8[np.ndarray, 'h w'], codec: LabelCodec) -> UInt8[np.ndarray, 'c h w']:
    """Class ids as raw values that the codec decodes to the same ids.

    If several raw values mean one class, the first one in the codec is used.

    Args:
        ids: Class ids.
        codec: How mask files of the dataset encode them.

    Returns:
        One band of ids or grey levels, or red, green and blue.

    Raises:
        ConfigError: If a class has no raw value, or the codec is of an unknown kind.

    Example:
        >>> encode_labels(np.array([[0, 1]], np.uint8), ThresholdCodec()).tolist()
        [[[0, 255]]]
        >>> encode_labels(np.array([[1]], np.uint8), ColourCodec({(0, 0, 255): 1})).tolist()
        [[[0]], [[0]], [[255]]]
    """
    return _encoded(ids, _by_raw(codec))


def _by_raw(codec: LabelCodec) -> dict[tuple[int, ...], int]:
    """Class ids by raw value or colour."""
    match codec:
        case IdCodec(by_number):
            return {(number,): class_id for number, class_id in by_number.items()}
        case ColourCodec(by_colour):
            return {(*colour,): class_id for colour, class_id in by_colour.items()}
        case ThresholdCodec():
            return {(0,): 0, (255,): 1}
        case _:
            raise ConfigError(
                f'{type(codec).__name__} can only read masks, not write them: '
                'expected an IdCodec, ColourCodec or ThresholdCodec'
            )


def _encoded(
    ids: UInt8[np.ndarray, 'h w'], by_raw: Mapping[tuple[int, ...], int]
) -> UInt8[np.ndarray, 'c h w']:
    raw: dict[int, tuple[int, ...]] = {}
    for value, class_id in by_raw.items():
        raw.setdefault(class_id, value)
    table = np.zeros((256, len(next(iter(by_raw)))), np.uint8)
    for class_id in np.unique(ids).tolist():
        if class_id not in raw:
            raise ConfigError(
                f'class {class_id} has no value in the masks of the dataset: choose an encoding '
                'that has one'
            )
        table[class_id] = raw[class_id]
    return np.ascontiguousarray(table[ids].transpose(2, 0, 1))


def prediction_path(folder: Path, dataset: SceneDataset, index: int) -> Path:
    """Path of a scene's predictions inside a folder."""
    scene = dataset.scenes[index]
    mask = Path(scene.mask or scene.image)
    if isinstance(dataset, ArchiveDataset):
        return folder / mask.relative_to(dataset.root).with_suffix('.tif')
    # Masks in different folders may have the same name.
    return folder / f'{index:05d}_{mask.stem}.tif'


class PredictionFiles:
    """Writes predictions as GeoTIFFs, in the same folder tree as the masks of a dataset.

    Chips are joined to the image that they were cut from. Where two overlap, the later one wins.
    Pixels without a prediction have the encoding's value for ignored pixels, or, if it has none, a
    value that it does not use and that the file marks as nodata.

    Args:
        folder: Folder to write to.
        dataset: The scenes that are predicted.

    Attributes:
        written: Files written so far, in order.
    """

    def __init__(self, folder: str | os.PathLike[str], dataset: SceneDataset) -> None:
        self._folder = Path(folder)
        self._dataset = dataset
        self._scene: int | None = None
        self._ids = np.zeros((0, 0), np.uint8)
        self.written: list[Path] = []

    def add(self, area: Window, ids: UInt8[Tensor, 'h w']) -> None:
        """Add the class ids of a chip or image; scenes must come one after another."""
        if area.scene != self._scene:
            self.finish()
            scene = self._dataset.scenes[area.scene]
            self._scene = area.scene
            self._ids = np.zeros((scene.height, scene.width), np.uint8)
        bottom, right = area.stop
        self._ids[area.row : bottom, area.col : right] = ids.numpy()

    def finish(self) -> None:
        """Write the last scene."""
        if self._scene is None:
            return
        scene = self._dataset.scenes[self._scene]
        path = prediction_path(self._folder, self._dataset, self._scene)
        by_raw = _by_raw(scene.codec or self._dataset.codec)
        nodata = None
        if IGNORE_INDEX not in by_raw.values() and (self._ids == IGNORE_INDEX).any():
            bands = len(next(iter(by_raw)))
            nodata = next(v for v in reversed(range(256)) if (v,) * bands not in by_raw)
            by_raw[(nodata,) * bands] = IGNORE_INDEX
        write_labels(
            path,
            _encoded(self._ids, by_raw),
            crs_wkt=None if scene.crs is None else scene.crs.to_wkt(),
            transform=scene.transform,
            tags={'CLASSES': ', '.join(self._dataset.labels.classes)},
            nodata=nodata,
        )
        self.written.append(path)
        self._scene = None
