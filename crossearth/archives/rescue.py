"""RescueNet, and the five classes that it shares with Potsdam."""

from crossearth.archives.archive import Archive, Part
from crossearth.labels import ISPRS, LabelSpace

__all__ = ['RESCUENET', 'RESCUENET_CLASSES', 'RESCUE_CLASSES']

RESCUENET_CLASSES = LabelSpace(
    name='rescuenet',
    classes=(
        'background',
        'water',
        'building_no_damage',
        'building_medium_damage',
        'building_major_damage',
        'building_total_destruction',
        'vehicle',
        'road_clear',
        'road_blocked',
        'tree',
        'pool',
    ),
    palette=(
        (0, 0, 0),
        (61, 230, 250),
        (180, 120, 120),
        (235, 255, 7),
        (255, 184, 6),
        (255, 0, 0),
        (255, 0, 245),
        (140, 140, 140),
        (160, 150, 20),
        (4, 250, 7),
        (255, 235, 0),
    ),
)
"""The eleven classes of RescueNet."""

_SHARED = ('impervious_surface', 'building', 'tree', 'car', 'clutter')
RESCUE_CLASSES = LabelSpace(
    name='rescue',
    classes=_SHARED,
    palette=tuple(ISPRS.palette[ISPRS.classes.index(name)] for name in _SHARED),
)
"""The five classes of Potsdam and RescueNet in the benchmark's disaster settings."""

RESCUENET = Archive(
    name='RescueNet',
    title='Hurricane Michael, USA, from a drone: 4494 images of about 3000 x 4000, eleven classes',
    parts=tuple(
        Part(options={'split': split}, sizes=((3000, 4000, count),))
        for split, count in (('train', 3595), ('val', 449), ('test', 450))
    ),
    gsd_m=None,
    chip_px=512,
    georeferencing='none',
    licence='CC BY-NC-ND 4.0',
    citation='Rahnemoonfar et al., RescueNet, Scientific Data 10, 913, 2023',
    url='https://doi.org/10.6084/m9.figshare.c.6647354',
    how_to_get=(
        'Download RescueNet from its page and unpack it into one folder, so that test-org-img and '
        'test-label-img, and those of train and val, lie somewhere inside it.'
    ),
)
