"""Any folder of images, with or without a folder of masks."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crossearth.datasets.scene import ValueRange, read_scenes
from crossearth.datasets.scene_dataset import PixelType, SceneDataset
from crossearth.datasets.timespan import Times
from crossearth.errors import LabelError, SceneNotFoundError
from crossearth.labels import LabelCodec, LabelSpace
from crossearth.rasters import Alpha, VectorLabels

__all__ = ['FolderDataset', 'list_rasters', 'walk']

_SUFFIXES = frozenset({'.tif', '.tiff', '.png', '.jpg', '.jpeg', '.webp', '.jp2', '.vrt'})


class FolderDataset(SceneDataset):
    """Images below one folder, each with the mask of the same name below another.

    GeoTIFF, PNG, JPEG and WebP can be mixed, georeferenced or not, in any CRSs, pixel types and
    band orders; subfolders are searched, and a mask lies in the same subfolder as its image. The
    file types of image and mask may differ.

    Args:
        images: Folder of the images.
        masks: Folder of the masks, or vector labels of the whole folder; None for images without
            labels.
        labels: The classes.
        codec: How mask files encode them; by default they hold class ids, and 255 for ignored.
        bands: 1-based bands to read, in order, for all images or by a pattern of their names, of
            which the first that fits counts (`{'*_ir.tif': (4, 1, 2), '*': (1, 2, 3)}`); None for
            all but an alpha band.
        alpha: What a band that a file calls alpha is, as GDAL calls the fourth band of any plain
            8-bit file: `'mask'` says where there are data, `'image'` is a band like others, such
            as near infrared; `'auto'` tells by its values.
        image_suffix: Ending of image names, before the dot, that masks do not have (`'_sat'`).
        mask_suffix: Ending of mask names that images do not have (`'_mask'`).
        domain: Name of the domain.
        split: Name of the split.
        crs: CRS of images that have a transform, in the file or in a world file, or
            ground control points, and name none.
        ignore_nodata: Whether pixels without image data are ignored in the mask too.
        dtype: `'native'` keeps the file's pixel type, `'float32'` converts the values, `'unit'`
            scales them to [0, 1].
        value_range: Values of black and white for `'unit'`, for all images or by pixel type
            (`{'uint16': (0, 3000)}`); None for those of the type.
        gsd_m: Side of a pixel in metres on the ground; None for the files' own pixels.
        time: When the images were taken: one span for all (`'2021'`, `('2021-06', '2021-08')`),
            spans by patterns of image names, or `FileTimes`, which finds it in them. Images that
            nobody has dated count as taken at any time.

    Raises:
        SceneNotFoundError: If a folder is missing or empty, or an image has no mask.
        SceneError: If a file is not a raster.
        LabelError: If a mask lies elsewhere than its image, or has another size and no place.
        BandError: If images lack a band, or differ in their number.
        ConfigError: If an image cannot be resampled or dated, or `crs` is not a CRS.
    """

    # many arguments: one for each thing that files may leave unsaid; recipes name them one by one
    def __init__(
        self,
        images: str | os.PathLike[str],
        masks: str | os.PathLike[str] | VectorLabels | None = None,
        *,
        labels: LabelSpace,
        codec: LabelCodec | None = None,
        bands: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        alpha: Alpha = 'auto',
        image_suffix: str = '',
        mask_suffix: str = '',
        domain: str = '',
        split: str = '',
        crs: str | None = None,
        ignore_nodata: bool = True,
        dtype: PixelType = 'native',
        value_range: ValueRange | Mapping[str, ValueRange] | None = None,
        gsd_m: float | None = None,
        time: Times | None = None,
    ) -> None:
        folder = Path(images)
        files = [file for file in _rasters_below(folder) if file.stem.endswith(image_suffix)]
        if not files:
            raise SceneNotFoundError(
                f'{folder}: no image ends in {image_suffix!r}; check image_suffix'
            )
        pairs: list[tuple[str, str | VectorLabels | None]]
        if masks is None or isinstance(masks, VectorLabels):
            pairs = [(file.path, masks) for file in files]
        else:
            pairs = _pair(files, Path(masks), image_suffix, mask_suffix)
        scenes = read_scenes(
            pairs,
            folder=folder,
            bands=bands,
            alpha=alpha,
            value_range=value_range,
            domain=domain,
            split=split,
            crs=crs,
        )
        super().__init__(
            scenes,
            labels,
            codec=codec,
            ignore_nodata=ignore_nodata,
            dtype=dtype,
            gsd_m=gsd_m,
            time=time,
        )


def list_rasters(folder: str | os.PathLike[str]) -> list[Path]:
    """Images below a folder, by their endings, in the order of their names.

    Raises:
        SceneNotFoundError: If the folder is missing or holds no image.
    """
    return [Path(file.path) for file in _rasters_below(Path(folder))]


def walk(root: Path) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Folders below a root and the names of their files, both sorted, hidden ones left out.

    Links to folders are followed, except those that lead back to a folder above.
    """
    above: dict[str, frozenset[tuple[int, int]]] = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        about = os.stat(folder)  # noqa: PTH116  # os.walk speaks strings
        own = (about.st_dev, about.st_ino)
        before = above.get(os.path.dirname(folder), frozenset())  # noqa: PTH120  # same
        if own in before:
            folders.clear()
            continue
        above[folder] = before | {own}
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        below = Path(os.path.relpath(folder, root)).parts  # none for the root itself
        yield below, sorted(name for name in names if not name.startswith('.'))


class _File(NamedTuple):
    """A file below a folder; plain strings, for a folder may hold a hundred thousand."""

    below: tuple[str, ...]
    stem: str
    path: str


def _rasters_below(root: Path) -> list[_File]:
    if not root.is_dir():
        raise SceneNotFoundError(f'{root}: no such folder; check the path')
    files = []
    for below, names in walk(root):
        folder = root.joinpath(*below)
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122  # called once a file
            if suffix.lower() in _SUFFIXES:
                files.append(((*below, name), _File(below, stem, f'{folder}{os.sep}{name}')))
    if not files:
        raise SceneNotFoundError(
            f'{root}: holds no images; expected files ending in {", ".join(sorted(_SUFFIXES))}'
        )
    return [file for _, file in sorted(files)]


def _pair(
    images: list[_File], mask_folder: Path, image_suffix: str, mask_suffix: str
) -> list[tuple[str, str | VectorLabels | None]]:
    found: dict[tuple[tuple[str, ...], str], str] = {}
    for file in _rasters_below(mask_folder):
        twin = found.setdefault((file.below, file.stem), file.path)
        if twin != file.path:
            raise LabelError(f'{file.path}: {twin} is a mask of the same name: keep one of the two')
    pairs: list[tuple[str, str | VectorLabels | None]] = []
    for image in images:
        wanted = image.stem.removesuffix(image_suffix) + mask_suffix
        mask = found.get((image.below, wanted))
        if mask is None:
            raise SceneNotFoundError(
                f'{image.path}: has no mask; expected {mask_folder.joinpath(*image.below, wanted)}'
                '.* - set image_suffix and mask_suffix if the names differ, or masks=None for '
                'images without labels'
            )
        pairs.append((image.path, mask))
    return pairs
