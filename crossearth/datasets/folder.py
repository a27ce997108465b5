"""Any folder of images, with or without a folder of masks."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal, get_args

from crossearth.datasets.files import RasterFile, rasters_below
from crossearth.datasets.holdout import HoldOut, Portion
from crossearth.datasets.pairing import guess_patterns, pair_files
from crossearth.datasets.scene import Scene, ValueRange, read_scenes
from crossearth.datasets.scene_dataset import PixelType, SceneDataset
from crossearth.datasets.scene_index import SceneIndex
from crossearth.datasets.timespan import Times
from crossearth.errors import ConfigError, SceneNotFoundError
from crossearth.labels import LabelCodec, LabelSpace
from crossearth.rasters import Alpha, VectorLabels
from crossearth.spelling import check_choice

__all__ = ['FolderDataset']

Unpaired = Literal['error', 'skip']

_NAMED = 5  # files named in one message


class FolderDataset(SceneDataset):
    """Images below one folder, each with the mask of the same name below another.

    GeoTIFF, PNG, JPEG and WebP can be mixed, georeferenced or not, in any CRSs, pixel types and
    band orders. Subfolders are searched, and a mask lies in the same subfolder as its image. The
    file types of image and mask may differ. If names differ, patterns tell which belong together:
    `image_names='IMG_*', mask_names='MSK_*'`, or `'*_sat'` and `'*_mask'` in one folder.

    Args:
        images: Folder of the images.
        masks: Folder of the masks, or vector labels of the whole folder; None for images without
            labels.
        labels: The classes.
        codec: How mask files encode them; by default as class ids, with 255 for ignored.
        bands: 1-based bands to read, in order, for all images or by pattern of their names
            (`{'*_ir.tif': (4, 1, 2), '*': (1, 2, 3)}`), of which the first match counts; None for
            all except an alpha band.
        alpha: What a band that a file calls alpha is. GDAL does so for the fourth band of any plain
            8-bit file. `'mask'`: it marks where there is data. `'image'`: it is a band like others,
            such as near infrared. `'auto'` decides by its values.
        image_names: Pattern of image names, without their extensions; `*` is what an image and its
            mask share. See `pair_files`.
        mask_names: Pattern of mask names.
        unpaired: What to do with images that have no mask: `'error'`, or `'skip'` to leave them
            out. They are listed in the attribute `unpaired`.
        leave_out: Images that are not read: paths below the folder, or patterns of them, each of
            which matches some.
        domain: Name of the domain.
        domains_from_folders: Whether the first folder below `images` names the domain of an image;
            images outside such folders belong to `domain`.
        hold_out: What is held out of training for validation.
        portion: The scenes of this dataset: `'all'`, the `'rest'` to train on, or the
            `'held_out'` ones.
        split: Name of the split.
        crs: CRS of images that have a transform, in the file or in a world file, or ground control
            points, but name no CRS.
        ignore_nodata: Whether pixels without image data are also ignored in the mask.
        dtype: `'native'` keeps the file's pixel type, `'float32'` converts the values, `'unit'`
            scales them to [0, 1].
        value_range: Values of black and white for `'unit'`, for all images or by pixel type
            (`{'uint16': (0, 3000)}`); None for those of the type.
        gsd_m: Side of a pixel in metres on the ground; None for the files' own pixels.
        native_gsd_m: Size of the files' own pixels on the ground, in metres, for images without a
            georeference (plain PNGs of a known sensor) or with a wrong one; None for what the
            georeference says.
        time: When the images were taken: one span for all (`'2021'`, `('2021-06', '2021-08')`),
            spans by patterns of image names, or `FileTimes`, which reads it from the names. Undated
            images count as taken at any time.

    Raises:
        SceneNotFoundError: If a folder is missing or empty, or an image has no mask, or nothing is
            left in `portion`.
        SceneError: If a file is not a raster.
        LabelError: If a mask lies elsewhere than its image, or differs in size without a place. If
            two images have one mask, or one image has two.
        BandError: If images lack a band, or differ in their number.
        ConfigError: If an image cannot be resampled or dated, `crs` is not a CRS, `portion` is
            set without `hold_out`, a pattern of `leave_out` matches no image, or an argument is
            none of its words.
    """

    # many arguments: one for each thing that files may leave open; recipes name them one by one
    def __init__(
        self,
        # not os.PathLike: in its unions, jsonargparse reads a path such as 'city: north' as YAML
        images: str | Path,
        masks: VectorLabels | str | Path | None = None,  # recipes need this order of types
        *,
        labels: LabelSpace,
        codec: LabelCodec | None = None,
        bands: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        alpha: Alpha = 'auto',
        image_names: str = '*',
        mask_names: str = '*',
        unpaired: Unpaired = 'error',
        leave_out: Sequence[str] = (),
        domain: str = '',
        domains_from_folders: bool = False,
        hold_out: HoldOut | None = None,
        portion: Portion = 'all',
        split: str = '',
        crs: str | None = None,
        ignore_nodata: bool = True,
        dtype: PixelType = 'native',
        value_range: ValueRange | Mapping[str, ValueRange] | None = None,
        gsd_m: float | None = None,
        native_gsd_m: float | None = None,
        time: Times | None = None,
    ) -> None:
        check_choice('unpaired', unpaired, get_args(Unpaired))
        folder = Path(images)
        if portion != 'all' and hold_out is None:
            raise ConfigError(f'portion={portion!r} without hold_out: state what is held out')
        files = _without(leave_out, rasters_below(folder), folder)
        if masks is None or isinstance(masks, VectorLabels):
            found = pair_files(files, [], image_names=image_names)
        else:
            labelled = rasters_below(masks)
            found = pair_files(files, labelled, image_names=image_names, mask_names=mask_names)
        if not found:
            raise SceneNotFoundError(
                f'{folder}: none of {len(files)} images matches {image_names!r}; check image_names'
            )
        self.unpaired: tuple[str, ...] = ()
        pairs: list[tuple[str, str | VectorLabels | None]]
        if masks is None or isinstance(masks, VectorLabels):
            pairs = [(file.path, masks) for file, _ in found]
        else:
            self.unpaired = tuple(file.path for file, mask in found if mask is None)
            if self.unpaired and (unpaired == 'error' or len(self.unpaired) == len(found)):
                raise _without_mask(self.unpaired, len(found), masks, files, labelled, mask_names)
            pairs = [(file.path, mask.path) for file, mask in found if mask is not None]
        scenes = read_scenes(
            pairs,
            folder=folder,
            bands=bands,
            alpha=alpha,
            value_range=value_range,
            domain=domain,
            split=split,
            crs=crs,
            native_gsd_m=native_gsd_m,
        )
        if domains_from_folders:
            scenes = [
                dataclasses.replace(scene, domain=_domain_of(scene, folder)) for scene in scenes
            ]
        super().__init__(
            scenes,
            labels,
            codec=codec,
            ignore_nodata=ignore_nodata,
            dtype=dtype,
            gsd_m=gsd_m,
            time=time,
        )
        if hold_out is not None:
            self._index = SceneIndex(hold_out.portion(self.scenes, portion, folder=folder))


def _without(
    leave_out: Sequence[str], files: Sequence[RasterFile], folder: Path
) -> list[RasterFile]:
    """The files that match none of some patterns, each of which matches a file."""
    chosen = {pattern: {f.path for f in files if fnmatch(f.name, pattern)} for pattern in leave_out}
    idle = [pattern for pattern, found in chosen.items() if not found]
    if idle:
        raise ConfigError(
            f'leave_out: no image below {folder} matches {", ".join(map(repr, idle))}: expected '
            f'paths relative to that folder, such as {files[0].name!r}, or patterns of them; '
            'remove those of files that are gone'
        )
    left_out = set().union(*chosen.values())
    return [file for file in files if file.path not in left_out]


def _domain_of(scene: Scene, folder: Path) -> str:
    """The first folder between a folder and an image; the scene's own domain without one."""
    parts = Path(os.path.relpath(scene.image, folder)).parts
    return parts[0] if len(parts) > 1 else scene.domain


def _without_mask(
    bare: Sequence[str],
    total: int,
    masks: str | os.PathLike[str],
    images: Sequence[RasterFile],
    labelled: Sequence[RasterFile],
    mask_names: str,
) -> SceneNotFoundError:
    """The error for images without masks, with patterns that would pair them, if there are some."""
    others = [Path(path).name for path in bare[1 : 1 + _NAMED]]
    more = 'nor has 1 other' if len(bare) == 2 else f'nor have {len(bare) - 1} others'
    also = f', {more} of {total} ({", ".join(others)}' if others else ''
    also += f'{", …" * (len(bare) - 1 > _NAMED)})' if others else ''
    better = guess_patterns(images, labelled)
    paired = pair_files(images, labelled, image_names=better[0], mask_names=better[1])
    hint = 'set image_names and mask_names if the names differ'
    if sum(mask is not None for _, mask in paired) > total - len(bare):
        hint = f'these names pair by image_names={better[0]!r}, mask_names={better[1]!r}'
    return SceneNotFoundError(
        f'{bare[0]}: has no mask{also}; expected one below {os.fspath(masks)} whose name matches '
        f"{mask_names!r} with the same *: {hint}; unpaired='skip' leaves them out, masks=None is "
        'for images without labels'
    )
