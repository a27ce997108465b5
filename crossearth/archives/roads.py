"""DeepGlobe and Massachusetts: roads of two continents."""

from crossearth.archives.archive import Archive, Part

__all__ = ['DEEPGLOBE_ROADS', 'MASSACHUSETTS_ROADS']

DEEPGLOBE_ROADS = Archive(
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
        'Register with the DeepGlobe Road Extraction Challenge and unpack it into one folder, so '
        'that the folder contains train/*_sat.jpg and train/*_mask.png.'
    ),
)
MASSACHUSETTS_ROADS = Archive(
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
        'that of the files, if a copy has it; EPSG:26986 is assigned to a transform without CRS'
    ),
    licence='free for research',
    citation='Mnih, Machine Learning for Aerial Image Labeling, PhD thesis, Toronto, 2013',
    url='https://www.cs.toronto.edu/~vmnih/data/',
    how_to_get=(
        'Download the files that its page lists (copies are on Kaggle) into tiff/train, '
        'tiff/train_labels, tiff/val, tiff/val_labels, tiff/test and tiff/test_labels.'
    ),
)
