"""Writers of the true trees of the archives, with tiny files: names, nesting, formats, sidecars."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from crossearth.labels import ISPRS

SIZE = 16
DRIVERS = {'.tif': 'GTiff', '.tiff': 'GTiff', '.png': 'PNG'}


def put(path: Path, pixels: np.ndarray, **profile: object) -> Path:
    """An array (c, h, w) or (h, w) as a raster, by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    if path.suffix == '.jpg':
        Image.fromarray(pixels.transpose(1, 2, 0)).save(path, quality=95)
        return path
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        count, height, width = pixels.shape
        with rasterio.open(
            path,
            'w',
            driver=DRIVERS[path.suffix],
            count=count,
            height=height,
            width=width,
            dtype=pixels.dtype,
            **profile,
        ) as target:
            target.write(pixels)
    return path


def picture(seed: int = 0, *, bands: int = 3, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 250, (bands, size, size), np.uint8)


def classes(count: int, *, size: int = SIZE) -> np.ndarray:
    """Ids that run through the classes along the diagonal."""
    return (np.indices((size, size)).sum(axis=0) % count).astype(np.uint8)


def isprs_colours(*, size: int = SIZE) -> np.ndarray:
    """The six classes in colour, with a black boundary in the first row."""
    coloured = ISPRS.colour(classes(6, size=size)).transpose(2, 0, 1).copy()
    coloured[:, 0] = 0
    return coloured


def world(path: Path, *, pixel: float, x: float, y: float) -> None:
    """A world file next to an image; x and y are those of its upper-left corner."""
    lines = (pixel, 0.0, 0.0, -pixel, x + pixel / 2, y - pixel / 2)
    path.with_suffix('.tfw').write_text('\n'.join(f'{value:.10f}' for value in lines))


def potsdam(root: Path, tiles: list[str], *, kinds: tuple[str, ...] = ('RGB',)) -> None:
    folders = {'RGB': '2_Ortho_RGB', 'IRRG': '3_Ortho_IRRG', 'RGBIR': '4_Ortho_RGBIR/inner'}
    for i, tile in enumerate(tiles):
        for kind in kinds:
            bands = {'RGB': (0, 1, 2), 'IRRG': (3, 0, 1), 'RGBIR': (0, 1, 2, 3)}[kind]
            path = root / folders[kind] / f'top_potsdam_{tile}_{kind}.tif'
            # The fourth band is called alpha in the archive, though it is infrared.
            extra = {'photometric': 'RGB', 'alpha': 'YES'} if kind == 'RGBIR' else {}
            put(path, picture(i, bands=4)[list(bands)], **extra)
            world(path, pixel=0.05, x=366_676.0 + 300 * i, y=5_808_300.0)
        for folder, ending in (('5_Labels_all', ''), ('5_Labels_all_noBoundary', '_noBoundary')):
            mask = isprs_colours()
            if not ending:
                mask[:, 0] = 255
            put(root / folder / f'top_potsdam_{tile}_label{ending}.tif', mask)


def vaihingen(root: Path, areas: list[int]) -> None:
    for area in areas:
        path = (
            root / 'ISPRS_semantic_labeling_Vaihingen' / 'top' / f'top_mosaic_09cm_area{area}.tif'
        )
        put(path, picture(area))
        world(path, pixel=0.09, x=496_000.0 + area, y=5_420_000.0)
        full = isprs_colours()
        full[:, 0] = 255
        put(path.parents[1] / 'gts_for_participants' / path.name, full)
        put(root / 'eroded' / f'{path.stem}_noBoundary.tif', isprs_colours())


def loveda(root: Path) -> None:
    numbers = {
        ('Train', 'Urban'): (1366, 1400),
        ('Train', 'Rural'): (0, 7),
        ('Val', 'Urban'): (3514,),
        ('Val', 'Rural'): (2522, 2523),
    }
    for (split, domain), names in numbers.items():
        for number in names:
            put(root / split / domain / 'images_png' / f'{number}.png', picture(number))
            put(root / split / domain / 'masks_png' / f'{number}.png', classes(8))
    put(root / 'Test' / 'Urban' / 'images_png' / '5000.png', picture(1))


def deepglobe(root: Path) -> None:
    for i in (104, 999):
        put(root / 'train' / f'{i}_sat.jpg', picture(i))
        grey = np.where(classes(2) > 0, 240, 12).astype(np.uint8)  # masks are not clean 0 and 255
        put(root / 'train' / f'{i}_mask.png', np.stack([grey] * 3))
    put(root / 'valid' / '7_sat.jpg', picture(7))


def massachusetts(root: Path) -> None:
    for split, name in (('train', '10078660_15'), ('test', '10378780_15')):
        image = picture(1)
        image[:, :8] = 255  # blank, while the roads continue
        put(root / 'tiff' / split / f'{name}.tiff', image)
        roads = np.where(classes(2) > 0, 255, 0).astype(np.uint8)
        put(root / 'tiff' / f'{split}_labels' / f'{name}.tif', roads)


def rescuenet(root: Path) -> None:
    for split, number in (('train', 10778), ('val', 10800), ('test', 10801)):
        folder = root / 'RescueNet' / split
        put(folder / f'{split}-org-img' / f'{number}.jpg', picture(number))
        put(folder / f'{split}-label-img' / f'{number}_lab.png', classes(11))


def whu_aerial(root: Path) -> None:
    for split, names in (('train', ('0', '1')), ('val', ('2',)), ('test', ('3',))):
        for name in names:
            inner = root / '3. The cropped image tiles and raster labels' / split
            put(inner / 'image' / f'{name}.tif', picture(int(name)))
            put(inner / 'label' / f'{name}.tif', classes(2) * 255)


def whu_satellite(root: Path) -> None:
    for part, names in (('train', ('1_165', '2_68')), ('train_no', ('1_166',)), ('test', ('3_1',)),
                        ('test_no', ('3_2',))):  # fmt: skip
        for i, name in enumerate(names):
            put(root / part / 'image' / f'{name}.tif', picture(i))
            mask = classes(2) * 255 if part.endswith('n') or part == 'test' else classes(1)
            put(root / part / 'label' / f'{name}.tif', mask)


def casid(root: Path, encoding: str, *, climates: tuple[str, ...] = ('subms', 'trorf')) -> None:
    palette = np.array(
        [(0, 0, 0), (255, 255, 0), (85, 255, 0), (255, 0, 0), (0, 112, 255)], np.uint8
    )
    for climate in climates:
        for split in ('train', 'test'):
            for i in (1, 2):
                folder = root / climate / split
                put(folder / f'{i}.png', picture(i))
                ids = classes(5)
                mask = {'colour': palette[ids].transpose(2, 0, 1), 'zero_based': ids,
                        'one_based': ids + 1}[encoding]  # fmt: skip
                put(folder / f'{i}-label.png', mask)


def chips(root: Path, names: list[str], *, count: int, split: str = 'train') -> None:
    """The reference release's tree: classes start at 1, 0 is ignored."""
    inner = f'{split}/' if split else ''
    for i, name in enumerate(names):
        put(root / 'img_dir' / f'{inner}{name}.png', picture(i))
        put(root / 'ann_dir' / f'{inner}{name}.png', classes(count + 1))
