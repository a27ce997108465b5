"""Any folder of images, with or without a folder of masks."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from crossearth.datasets.scene import read_scene
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.errors import SceneNotFoundError
from crossearth.labels import LabelCodec, LabelSpace

__all__ = ['FolderDataset', 'list_rasters']

_SUFFIXES = frozenset({'.tif', '.tiff', '.png', '.jpg', '.jpeg', '.webp', '.jp2', '.vrt'})


class FolderDataset(SceneDataset):
    """Images below one folder, each with the mask of the same name below another.

    GeoTIFF, PNG, JPEG and WebP can be mixed, georeferenced or not; subfolders are searched, and a
    mask lies in the same subfolder as its image. The file types of image and mask may differ.

    Args:
        images: Folder of the images.
        masks: Folder of the masks; None for images without labels.
        labels: The classes.
        codec: How mask files encode them; by default they hold class ids, and 255 for ignored.
        bands: 1-based bands to read, in order; None for all but alpha.
        image_suffix: Ending of image names, before the dot, that masks do not have (`'_sat'`).
        mask_suffix: Ending of mask names that images do not have (`'_mask'`).
        domain: Name of the domain.
        split: Name of the split.
        ignore_nodata: Whether pixels without image data are ignored in the mask too.
        dtype: `'native'` keeps the file's pixel type, `'float32'` converts the values.

    Raises:
        SceneNotFoundError: If a folder is missing or empty, or an image has no mask.
        SceneError: If a file is no raster.
        LabelError: If a mask is of another size than its image.
        BandError: If images lack a band, or differ in their number.
    """

    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] | None = None,
        *,
        labels: LabelSpace,
        codec: LabelCodec | None = None,
        bands: Sequence[int] | None = None,
        image_suffix: str = '',
        mask_suffix: str = '',
        domain: str = '',
        split: str = '',
        ignore_nodata: bool = True,
        dtype: Literal['native', 'float32'] = 'native',
    ) -> None:
        folder = Path(images)
        files = [path for path in list_rasters(folder) if path.stem.endswith(image_suffix)]
        if not files:
            raise SceneNotFoundError(
                f'{folder}: no image ends in {image_suffix!r}; check image_suffix'
            )
        pairs: dict[Path, Path | None] = dict.fromkeys(files)
        if masks is not None:
            pairs = _pair(folder, files, Path(masks), image_suffix, mask_suffix)
        scenes = [
            read_scene(
                image,
                mask,
                bands=None if bands is None else tuple(bands),
                domain=domain,
                split=split,
            )
            for image, mask in pairs.items()
        ]
        super().__init__(scenes, labels, codec=codec, ignore_nodata=ignore_nodata, dtype=dtype)


def list_rasters(folder: str | os.PathLike[str]) -> list[Path]:
    """Images below a folder, by their endings, in the order of their names.

    Raises:
        SceneNotFoundError: If the folder is missing or holds no image.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SceneNotFoundError(f'{root}: no such folder; check the path')
    files = sorted(path for path in root.rglob('*') if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise SceneNotFoundError(
            f'{root}: holds no images; expected files ending in {", ".join(sorted(_SUFFIXES))}'
        )
    return files


def _pair(
    folder: Path, images: list[Path], mask_folder: Path, image_suffix: str, mask_suffix: str
) -> dict[Path, Path | None]:
    found = {
        (path.parent.relative_to(mask_folder), path.stem): path
        for path in list_rasters(mask_folder)
    }
    pairs: dict[Path, Path | None] = {}
    for image in images:
        place, stem = image.parent.relative_to(folder), image.stem
        wanted = stem.removesuffix(image_suffix) + mask_suffix
        if (place, wanted) not in found:
            raise SceneNotFoundError(
                f'{image}: has no mask; expected {mask_folder / place / wanted}.* - set '
                'image_suffix and mask_suffix if the names differ, or masks=None for images '
                'without labels'
            )
        pairs[image] = found[place, wanted]
    return pairs
