"""ISPRS Potsdam and Vaihingen: two German cities from the air, six classes."""

import os
from collections.abc import Callable
from typing import Literal

from crossearth.datasets.archive import (
    Archive,
    ArchiveDataset,
    Layout,
    Part,
    chip_layouts,
    ids_after_zero,
)
from crossearth.datasets.rescue import RESCUE, LowVegetation, isprs_to_rescue
from crossearth.datasets.scene_dataset import PixelType
from crossearth.labels import IGNORE_INDEX, ISPRS, ColourCodec

__all__ = ['Potsdam', 'Vaihingen']

LabelVariant = Literal['no_boundary', 'full']
LabelDecode = Literal['threshold', 'exact']
LabelSpaceName = Literal['isprs', 'rescue']

_CITATION = (
    'Rottensteiner et al., The ISPRS Benchmark on Urban Object Classification and 3D Building '
    'Reconstruction, ISPRS Annals I-3, 2012'
)
_LICENCE = 'free for research after registration; no redistribution'


def _tiles(rows: dict[int, range]) -> frozenset[str]:
    return frozenset(f'{row}_{col}' for row, cols in rows.items() for col in cols)


_POTSDAM_TILES = {
    'train': _tiles(
        {**dict.fromkeys((2, 3, 4, 5), range(10, 13)), 6: range(7, 13), 7: range(7, 13)}
    ),
    'test': _tiles(
        {
            **dict.fromkeys((2, 3), range(13, 15)),
            **dict.fromkeys((4, 5, 6), range(13, 16)),
            7: range(13, 14),
        }
    ),
}
# Rows and columns of each area. The published counts of chips, 344 and 398, follow from them.
_VAIHINGEN_AREAS = {
    1: (2569, 1919), 2: (2767, 2428), 3: (3007, 2006), 4: (2557, 1887), 5: (2557, 1887),
    6: (2557, 1887), 7: (2557, 1887), 8: (2557, 1887), 10: (2557, 1887), 11: (2566, 1893),
    12: (2575, 1922), 13: (2558, 2818), 14: (2565, 1919), 15: (2565, 1919), 16: (2565, 1919),
    17: (1281, 2336), 20: (2315, 1866), 21: (2546, 1903), 22: (2546, 1903), 23: (2546, 1903),
    24: (2546, 1903), 26: (1783, 2995), 27: (3313, 1917), 28: (2567, 1917), 29: (2563, 1917),
    30: (2563, 1934), 31: (2555, 1980), 32: (2555, 1980), 33: (2555, 1581), 34: (2555, 1388),
    35: (1884, 2805), 37: (1995, 1996), 38: (2550, 3816),
}  # fmt: skip
_VAIHINGEN_SPLITS = {
    'train': (1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37),
    'test': (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38),
}

_POTSDAM = Archive(
    name='Potsdam',
    title='Potsdam, Germany, from the air: 38 tiles of 6000 x 6000, RGB and infrared, six classes',
    parts=tuple(
        Part(options={'split': split}, sizes=((6000, 6000, len(tiles)),), ids=tiles)
        for split, tiles in _POTSDAM_TILES.items()
    ),
    gsd_m=0.05,
    chip_px=512,
    crs='EPSG:32633',
    georeferencing='world files (.tfw) beside the images; UTM zone 33N is assigned',
    licence=_LICENCE,
    citation=_CITATION,
    url='https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-potsdam.aspx',
    how_to_get=(
        'Register with the ISPRS benchmark, unpack 2_Ortho_RGB.zip, 3_Ortho_IRRG.zip or '
        '4_Ortho_RGBIR.zip and 5_Labels_all_noBoundary.zip (or 5_Labels_all.zip) anywhere below '
        'one folder.'
    ),
)
_VAIHINGEN = Archive(
    name='Vaihingen',
    title='Vaihingen, Germany, from the air: 33 areas of IR-R-G, six classes',
    parts=tuple(
        Part(
            options={'split': split},
            sizes=tuple((*_VAIHINGEN_AREAS[area], 1) for area in areas),
            ids=frozenset(map(str, areas)),
        )
        for split, areas in _VAIHINGEN_SPLITS.items()
    ),
    gsd_m=0.09,
    chip_px=512,
    crs='EPSG:32632',
    georeferencing='world files (.tfw) beside the images; UTM zone 32N is assigned',
    licence=_LICENCE,
    citation=_CITATION,
    url='https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-vaihingen.aspx',
    how_to_get=(
        'Register with the ISPRS benchmark, unpack ISPRS_semantic_labeling_Vaihingen.zip and '
        'ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip (or '
        '..._ground_truth_COMPLETE.zip) below one folder.'
    ),
)


class Potsdam(ArchiveDataset):
    """ISPRS Potsdam, in true colour, infrared or both.

    Infrared-red-green is read from the RGBIR files (bands 4, 1, 2) where `3_Ortho_IRRG` is absent,
    and so is RGB. Two of the label files are damaged: that of tile 4_12 is blended with its image,
    and 6_7 draws most cars as (252, 255, 0). `label_decode='threshold'` recovers both by moving
    each channel to 0 or 255; `'exact'` ignores what has no exact colour, as the published numbers
    were trained.

    The reference's chips do not say which bands they hold: point `root` at those you want.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'` (24 tiles) or `'test'` (14).
        bands: `'rgb'`, `'irrg'` or `'rgbir'`.
        label_variant: `'no_boundary'` leaves 3 pixels around objects unlabelled, as the benchmark
            does; `'full'` labels every pixel.
        label_decode: How colours of the labels are told apart.
        label_space: `'isprs'` for the six classes, `'rescue'` for the five shared with RescueNet.
        low_vegetation: What becomes of it in the five classes.
        dtype: As of `SceneDataset`.
        gsd_m: As of `SceneDataset`.
        download: There is no public link: True raises an error that says how to get the archive.

    Source:
        CrossEarth, section 4 and appendix C; low vegetation has no counterpart in its Table 2.
    """

    archive = _POTSDAM

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: Literal['train', 'test'] = 'train',
        bands: Literal['rgb', 'irrg', 'rgbir'] = 'rgb',
        label_variant: LabelVariant = 'no_boundary',
        label_decode: LabelDecode = 'threshold',
        label_space: LabelSpaceName = 'isprs',
        low_vegetation: LowVegetation = 'clutter',
        dtype: PixelType = 'native',
        gsd_m: float | None = None,
        download: bool = False,
    ) -> None:
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
            labels=ISPRS if label_space == 'isprs' else RESCUE,
            domain=f'potsdam_{bands}',
            split=split,
            dtype=dtype,
            gsd_m=gsd_m,
            download=download,
        )


class Vaihingen(ArchiveDataset):
    """ISPRS Vaihingen, in infrared-red-green.

    The archive gives images and full labels the same names: what lies in a folder `top` is an
    image, the other a label.

    Args:
        root: Folder of the archive, or of the reference's chips.
        split: `'train'` (16 areas) or `'test'` (17).
        label_variant: `'no_boundary'` leaves 3 pixels around objects unlabelled, as the benchmark
            does; `'full'` labels every pixel.
        label_decode: How colours of the labels are told apart, see `Potsdam`.
        dtype: As of `SceneDataset`.
        gsd_m: As of `SceneDataset`.
        download: There is no public link: True raises an error that says how to get the archive.
    """

    archive = _VAIHINGEN

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
    return ColourCodec({**colours, (0, 0, 0): IGNORE_INDEX}, match=match)
