"""DeepGlobe and Massachusetts: roads of two continents."""

import dataclasses
import os
from typing import Literal

from crossearth.datasets.archive import (
    EITHER_BINARY,
    Archive,
    ArchiveDataset,
    Layout,
    Part,
    chip_layouts,
)
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import ROAD, ThresholdCodec

__all__ = ['DeepGlobeRoads', 'MassachusettsRoads']

_DEEPGLOBE = Archive(
    name='DeepGlobeRoads',
    title='Roads of Thailand, Indonesia and India from space: 6226 labelled images of 1024 x 1024',
    parts=(
        Part(options={'split': 'train'}, sizes=((1024, 1024, 6226),)),
        Part(options={'split': 'valid'}, sizes=((1024, 1024, 1243),), labelled=False),
        Part(options={'split': 'test'}, sizes=((1024, 1024, 1101),), labelled=False),
    ),
    gsd_m=0.5,
    chip_px=1024,
    georeferencing='none',
    licence='DeepGlobe terms: research only',
    citation='Demir et al., DeepGlobe 2018, CVPR Workshops',
    url='https://competitions.codalab.org/competitions/18467',
    how_to_get=(
        'Register with the DeepGlobe Road Extraction Challenge and unpack it below one folder, so '
        'that train/*_sat.jpg and train/*_mask.png lie there.'
    ),
)
_MASSACHUSETTS = Archive(
    name='MassachusettsRoads',
    title='Roads of Massachusetts, USA, from the air: 1171 images of 1500 x 1500',
    parts=tuple(
        Part(options={'split': split}, sizes=((1500, 1500, count),))
        for split, count in (('train', 1108), ('val', 14), ('test', 49))
    ),
    gsd_m=1.0,
    chip_px=1024,
    crs='EPSG:26986',
    georeferencing=(
        'that of the files, where a copy has it; EPSG:26986 is assigned to a transform without CRS'
    ),
    licence='free for research',
    citation='Mnih, Machine Learning for Aerial Image Labeling, PhD thesis, Toronto, 2013',
    url='https://www.cs.toronto.edu/~vmnih/data/',
    how_to_get=(
        'Fetch the files that its page lists (copies are on Kaggle) into tiff/train, '
        'tiff/train_labels, tiff/val, tiff/val_labels, tiff/test and tiff/test_labels.'
    ),
)


class DeepGlobeRoads(ArchiveDataset):
    """DeepGlobe Road Extraction 2018.

    Masks are pictures of which grey levels from 128 up are road. Only `train` has masks.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'`, or `'valid'` and `'test'` for images without labels.
        dtype: As of `SceneDataset`.
        download: There is no public link: True raises an error that says how to get the archive.
    """

    archive = _DEEPGLOBE

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

    Some training images are largely blank white while their labels go on: `mask_nodata=True`
    ignores roads and background there.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'`, `'val'` or `'test'`.
        mask_nodata: Whether labels of pure white pixels are ignored.
        dtype: As of `SceneDataset`.
        gsd_m: As of `SceneDataset`.
        download: There is no public link to one file: True raises an error that says how to get
            the archive.
    """

    archive = _MASSACHUSETTS

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
        self.archive.part(split=split)
        original = Layout(
            name='original',
            images=rf'(?:.*/)?{split}/(?P<name>[^/]+)\.tiff?',
            masks=rf'(?:.*/)?{split}_labels/(?P<name>[^/]+)\.tiff?',
            codec=ThresholdCodec(),
        )
        chips = chip_layouts(folders=('massachusetts',), split=split, codec=EITHER_BINARY)
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
