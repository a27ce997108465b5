"""WHU Building: roofs of Christchurch from the air, and of East Asia from space."""

from crossearth.archives.archive import Archive, Download, Part

__all__ = ['WHU_BUILDING_AERIAL', 'WHU_BUILDING_SATELLITE', 'WHU_TILE_PX']

WHU_TILE_PX = 512
_FOLDER = '3. The cropped image tiles and raster labels'

_CITATION = (
    'Ji, Wei, Lu, Fully Convolutional Networks for Multisource Building Extraction from an Open '
    'Aerial and Satellite Imagery Data Set, IEEE TGRS 57(1), 2019'
)
_URL = 'http://gpcv.whu.edu.cn/data/building_dataset.html'

WHU_BUILDING_AERIAL = Archive(
    name='WHUBuildingAerial',
    title='Roofs of Christchurch, New Zealand, from the air: 8188 images of 512 x 512',
    parts=tuple(
        Part(options={'split': split}, sizes=((WHU_TILE_PX, WHU_TILE_PX, count),))
        for split, count in (('train', 4736), ('val', 1036), ('test', 2416))
    ),
    gsd_m=0.3,
    chip_px=WHU_TILE_PX,
    georeferencing='none',
    licence='free for research',
    citation=_CITATION,
    url=_URL,
    how_to_get=(
        'Open it with download=True, or download "The cropped aerial image tiles and raster '
        'labels" from its page and unpack it into one folder.'
    ),
    downloads=(
        Download(
            'http://gpcv.whu.edu.cn/data/'
            '3.%20The%20cropped%20aerial%20image%20tiles%20and%20raster%20labels.zip',
            'whu_building_aerial.zip',
            md5=None,  # none is published; the CRC of each file inside is checked
            makes=_FOLDER,
        ),
    ),
)
WHU_BUILDING_SATELLITE = Archive(
    name='WHUBuildingSatellite',
    title='Roofs of East Asia from space (Satellite dataset II): 17388 images of 512 x 512',
    parts=tuple(
        Part(options={'split': split}, sizes=((WHU_TILE_PX, WHU_TILE_PX, count),))
        # tiles with roofs, and those of `train_no` and `test_no` without
        for split, count in (('train', 3135 + 10527), ('test', 903 + 2823))
    ),
    gsd_m=0.45,
    chip_px=WHU_TILE_PX,
    georeferencing=(
        'none in the tiles; their place in the whole images follows from their names, and '
        'coordinates from the corners of these images, given as corners_xy'
    ),
    licence='free for research',
    citation=_CITATION,
    url=_URL,
    how_to_get=(
        'Download "Satellite dataset II (East Asia)" from its page and unpack its cropped tiles '
        'into one folder, so that the folder contains train, train_no, test and test_no.'
    ),
)
