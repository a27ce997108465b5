"""ISPRS Potsdam and Vaihingen: two German cities from the air, six classes."""

import os
from collections.abc import Callable
from typing import Literal, get_args

from crossearth.archives.isprs import POTSDAM, VAIHINGEN
from crossearth.archives.rescue import RESCUE_CLASSES
from crossearth.datasets.archive import ArchiveDataset, Layout, chip_layouts, ids_after_zero
from crossearth.datasets.rescue import LowVegetation, isprs_to_rescue
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import IGNORE_INDEX, ISPRS, ColourCodec
from crossearth.spelling import check_choice

__all__ = ['Potsdam', 'Vaihingen']

Bands = Literal['rgb', 'irrg', 'rgbir']
LabelVariant = Literal['no_boundary', 'full']
LabelDecode = Literal['threshold', 'exact']
LabelSpaceName = Literal['isprs', 'rescue']


class Potsdam(ArchiveDataset):
    """ISPRS Potsdam, in true colour, infrared or both.

    Infrared-red-green is read from the RGBIR files (bands 4, 1, 2) if `3_Ortho_IRRG` is missing,
    and RGB likewise. Two of the label files are damaged: that of tile 4_12 is blended with its
    image, and 6_7 draws most cars as (252, 255, 0). `label_decode='threshold'` recovers both by
    moving each channel to 0 or 255. `'exact'` ignores pixels without an exact colour, as in the
    training of the published numbers.

    The reference's chips do not state which bands they hold: point `root` at those you want.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'` (24 tiles) or `'test'` (14).
        bands: `'rgb'`, `'irrg'` or `'rgbir'`.
        label_variant: `'no_boundary'` leaves 3 pixels around objects unlabelled, as the benchmark
            does; `'full'` labels every pixel.
        label_decode: How colours of the labels are matched.
        label_space: `'isprs'` for the six classes, `'rescue'` for the five shared with RescueNet.
        low_vegetation: What it becomes in the five classes.
        dtype: See `SceneDataset`.
        gsd_m: See `SceneDataset`.
        download: True raises an error that explains how to get the archive, which has no link.

    Source:
        CrossEarth, section 4 and appendix C; low vegetation has no counterpart in its Table 2.
    """

    archive = POTSDAM

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'test'] = 'train',
        bands: Bands = 'rgb',
        label_variant: LabelVariant = 'no_boundary',
        label_decode: LabelDecode = 'threshold',
        label_space: LabelSpaceName = 'isprs',
        low_vegetation: LowVegetation = 'clutter',
        dtype: PixelType = 'native',
        gsd_m: float | None = None,
        download: bool = False,
    ) -> None:
        check_choice('bands', bands, get_args(Bands))
        check_choice('label_variant', label_variant, get_args(LabelVariant))
        check_choice('label_decode', label_decode, get_args(LabelDecode))
        check_choice('label_space', label_space, get_args(LabelSpaceName))
        place = _placing(label_space, low_vegetation)
        tiles = self.archive.part(split=split).ids
        ending = '_label_noBoundary' if label_variant == 'no_boundary' else '_label'
        files: dict[str, list[tuple[str, tuple[int, ...]]]] = {
            'rgb': [('RGB', (1, 2, 3)), ('RGBIR', (1, 2, 3))],
            'irrg': [('IRRG', (1, 2, 3)), ('RGBIR', (4, 1, 2))],
            'rgbir': [('RGBIR', (1, 2, 3, 4))],
        }
        layouts = [
            Layout(
                name='original',
                images=rf'(?:.*/)?top_potsdam_(?P<id>\d+_\d+)_{name}\.tif',
                masks=rf'(?:.*/)?top_potsdam_(?P<id>\d+_\d+){ending}\.tif',
                codec=_colours(place, label_decode),
                bands=chosen,
                ids=tiles,
                # GDAL calls the fourth band of plain 8-bit files alpha, but here it is infrared
                alpha='image',
            )
            for name, chosen in files[bands]
        ]
        layouts += chip_layouts(
            folders=(bands, f'potsdam_{bands}'),
            split=split,
            codec=ids_after_zero(6, place),
            ids=tiles,
            id_pattern=r'(?P<id>\d+_\d+)',
        )
        super().__init__(
            root,
            layouts,
            labels=ISPRS if label_space == 'isprs' else RESCUE_CLASSES,
            domain=f'potsdam_{bands}',
            split=split,
            dtype=dtype,
            gsd_m=gsd_m,
            download=download,
        )


class Vaihingen(ArchiveDataset):
    """ISPRS Vaihingen, in infrared-red-green.

    In the archive, images and full labels have the same names. Files in a folder `top` are images,
    the others labels.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'` (16 areas) or `'test'` (17).
        label_variant: `'no_boundary'` leaves 3 pixels around objects unlabelled, as the benchmark
            does; `'full'` labels every pixel.
        label_decode: How colours of the labels are matched, see `Potsdam`.
        dtype: See `SceneDataset`.
        gsd_m: See `SceneDataset`.
        download: True raises an error that explains how to get the archive, which has no link.
    """

    archive = VAIHINGEN

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'test'] = 'train',
        label_variant: LabelVariant = 'no_boundary',
        label_decode: LabelDecode = 'threshold',
        dtype: PixelType = 'native',
        gsd_m: float | None = None,
        download: bool = False,
    ) -> None:
        check_choice('label_variant', label_variant, get_args(LabelVariant))
        check_choice('label_decode', label_decode, get_args(LabelDecode))
        areas = self.archive.part(split=split).ids
        name = r'top_mosaic_09cm_area(?P<id>\d+)'
        masks = {
            'no_boundary': rf'(?:.*/)?{name}_noBoundary\.tif',
            'full': rf'(?!(?:.*/)?top/[^/]*$)(?:.*/)?{name}\.tif',
        }
        layouts = [
            Layout(
                name='original',
                images=rf'(?:.*/)?top/{name}\.tif',
                masks=masks[label_variant],
                codec=_colours(_placing('isprs', 'clutter'), label_decode),
                ids=areas,
            ),
            *chip_layouts(
                folders=('vaihingen', 'vaihingen_irrg'),
                split=split,
                codec=ids_after_zero(6),
                ids=areas,
                id_pattern=r'area(?P<id>\d+)',
            ),
        ]
        super().__init__(
            root,
            layouts,
            labels=ISPRS,
            domain='vaihingen_irrg',
            split=split,
            dtype=dtype,
            gsd_m=gsd_m,
            download=download,
        )


def _placing(label_space: LabelSpaceName, low_vegetation: LowVegetation) -> Callable[[int], int]:
    return (lambda i: i) if label_space == 'isprs' else isprs_to_rescue(low_vegetation)


def _colours(place: Callable[[int], int], match: LabelDecode) -> ColourCodec:
    colours = {colour: place(i) for i, colour in enumerate(ISPRS.palette)}
    # black marks the borders between classes, which are neither trained on nor scored
    return ColourCodec({**colours, (0, 0, 0): IGNORE_INDEX}, match=match)
