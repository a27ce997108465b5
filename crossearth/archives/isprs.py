"""ISPRS Potsdam and Vaihingen: two German cities from the air."""

from crossearth.archives.archive import Archive, Part

__all__ = ['POTSDAM', 'VAIHINGEN', 'VAIHINGEN_AREAS']

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
VAIHINGEN_AREAS = {
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

POTSDAM = Archive(
    name='Potsdam',
    title='Potsdam, Germany, from the air: 38 tiles of 6000 x 6000, RGB and infrared, six classes',
    parts=tuple(
        Part(options={'split': split}, sizes=((6000, 6000, len(tiles)),), ids=tiles)
        for split, tiles in _POTSDAM_TILES.items()
    ),
    gsd_m=0.05,
    chip_px=512,
    crs='EPSG:32633',
    georeferencing='world files (.tfw) next to the images; UTM zone 33N is assigned',
    licence=_LICENCE,
    citation=_CITATION,
    url='https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-potsdam.aspx',
    how_to_get=(
        'Register with the ISPRS benchmark. Unpack 2_Ortho_RGB.zip, 3_Ortho_IRRG.zip or '
        '4_Ortho_RGBIR.zip, and 5_Labels_all_noBoundary.zip (or 5_Labels_all.zip), anywhere inside '
        'one folder.'
    ),
)
VAIHINGEN = Archive(
    name='Vaihingen',
    title='Vaihingen, Germany, from the air: 33 areas of IR-R-G, six classes',
    parts=tuple(
        Part(
            options={'split': split},
            sizes=tuple((*VAIHINGEN_AREAS[area], 1) for area in areas),
            ids=frozenset(map(str, areas)),
        )
        for split, areas in _VAIHINGEN_SPLITS.items()
    ),
    gsd_m=0.09,
    chip_px=512,
    crs='EPSG:32632',
    georeferencing='world files (.tfw) next to the images; UTM zone 32N is assigned',
    licence=_LICENCE,
    citation=_CITATION,
    url='https://www.isprs.org/education/benchmarks/UrbanSemLab/2d-sem-label-vaihingen.aspx',
    how_to_get=(
        'Register with the ISPRS benchmark. Unpack ISPRS_semantic_labeling_Vaihingen.zip and '
        'ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE.zip (or '
        '..._ground_truth_COMPLETE.zip) into one folder.'
    ),
)
