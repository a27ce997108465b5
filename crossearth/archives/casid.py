"""CASID: four climates of Asia, five classes."""

from crossearth.archives.archive import Archive, Part
from crossearth.labels import LabelSpace

__all__ = ['CASID', 'CASID_CLASSES']

CASID_CLASSES = LabelSpace(
    name='casid',
    classes=('background', 'building', 'forest', 'road', 'water'),
    palette=((0, 0, 0), (255, 255, 0), (85, 255, 0), (255, 0, 0), (0, 112, 255)),
)
"""The five classes of CASID, in its colours."""

# train and test images; with 25 chips each, they give the benchmark's counts, from 4900 / 2200
_IMAGES = {'subms': (196, 88), 'temms': (201, 83), 'troms': (136, 66), 'trorf': (148, 62)}

CASID = Archive(
    name='CASID',
    title='Four climates of Asia from space: 980 images of 5000 x 5000, five classes',
    parts=tuple(
        Part(options={'climate': climate, 'split': split}, sizes=((5000, 5000, count),))
        for climate, counts in _IMAGES.items()
        for split, count in zip(('train', 'test'), counts, strict=True)
    ),
    gsd_m=1.0,
    chip_px=1024,
    georeferencing='none',
    licence='terms of its authors: research only',
    citation=(
        'Liu et al., A large-scale climate-aware satellite image dataset for domain adaptive '
        'land-cover semantic segmentation, ISPRS Journal 205, 2023'
    ),
    url='https://github.com/Linwei-Chen/CASID',
    how_to_get=(
        'Ask its authors for CASID and unpack it into one folder, so that images id.png and masks '
        'id-label.png lie in folders named after the climate (subms, temms, troms, trorf, or their '
        'long names), with train or test above or below these.'
    ),
)
