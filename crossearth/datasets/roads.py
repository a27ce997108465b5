"""DeepGlobe and Massachusetts: roads of two continents."""

import dataclasses
import os
from typing import Literal

from crossearth.archives.roads import DEEPGLOBE_ROADS, MASSACHUSETTS_ROADS
from crossearth.datasets.archive import EITHER_BINARY, ArchiveDataset, Layout, chip_layouts
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import ROAD, ThresholdCodec

__all__ = ['DeepGlobeRoads', 'MassachusettsRoads']


class DeepGlobeRoads(ArchiveDataset):
    """DeepGlobe Road Extraction 2018.

    Masks are pictures in which grey levels from 128 upwards are road. Only `train` has masks.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'`, or `'valid'` and `'test'` for images without labels.
        dtype: See `SceneDataset`.
        download: True raises an error that explains how to get the archive, which has no link.
    """

    archive = DEEPGLOBE_ROADS

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'valid', 'test'] = 'train',
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        labelled = self.archive.part(split=split).labelled
        layouts = [
            Layout(
                name='original',
                images=rf'(?:.*/)?{split}/(?P<name>[^/]+)_sat\.jpg',
                masks=rf'(?:.*/)?{split}/(?P<name>[^/]+)_mask\.png' if labelled else None,
                codec=ThresholdCodec(),
            )
        ]
        if labelled:
            layouts += chip_layouts(folders=('deepglobe',), split=split, codec=EITHER_BINARY)
        super().__init__(
            root,
            layouts,
            labels=ROAD,
            domain='deepglobe_road',
            split=split,
            dtype=dtype,
            download=download,
        )


class MassachusettsRoads(ArchiveDataset):
    """Massachusetts Roads.

    Some training images are largely blank white although their labels continue there.
    `mask_nodata=True` ignores roads and background in such places.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'`, `'val'` or `'test'`.
        mask_nodata: Whether labels of pure white pixels are ignored.
        dtype: See `SceneDataset`.
        gsd_m: See `SceneDataset`.
        download: True raises an error that explains how to get the archive, which has no link to a
            single file.
    """

    archive = MASSACHUSETTS_ROADS

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'val', 'test'] = 'train',
        mask_nodata: bool = False,
        dtype: PixelType = 'native',
        gsd_m: float | None = None,
        download: bool = False,
    ) -> None:
        original = Layout(
            name='original',
            images=rf'(?:.*/)?{split}/(?P<name>[^/]+)\.tiff?',
            masks=rf'(?:.*/)?{split}_labels/(?P<name>[^/]+)\.tiff?',
            codec=ThresholdCodec(),
        )
        chips = chip_layouts(folders=('massachusetts',), split=split, codec=EITHER_BINARY)
        # in unsigned bands, pixels are blank only where all bands have this value
        blank = 255 if mask_nodata else None
        layouts = [dataclasses.replace(layout, nodata=blank) for layout in (original, *chips)]
        super().__init__(
            root,
            layouts,
            labels=ROAD,
            domain='massachusetts_road',
            split=split,
            dtype=dtype,
            gsd_m=gsd_m,
            download=download,
        )
