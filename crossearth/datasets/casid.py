"""CASID: four climates of Asia, five classes."""

import os
from typing import Literal, get_args

from crossearth.archives import casid
from crossearth.archives.casid import CASID_CLASSES
from crossearth.datasets.archive import ArchiveDataset, Layout, chip_layouts, ids_after_zero
from crossearth.datasets.scene_dataset import PixelType
from crossearth.errors import LabelError
from crossearth.labels import ColourCodec, IdCodec, LabelCodec
from crossearth.rasters import colours_of, open_raster
from crossearth.spelling import check_choice

__all__ = ['CASID']

Climate = Literal['subms', 'temms', 'troms', 'trorf']
LabelEncoding = Literal['colour', 'zero_based', 'one_based']

_SHORT = {'subms': 'sub', 'temms': 'tem', 'troms': 'tms', 'trorf': 'trf'}
_LONG = {
    'subms': 'subtropical.?monsoon',
    'temms': 'temperate.?monsoon',
    'troms': 'tropical.?monsoon',
    'trorf': 'tropical.?rain.?forest',
}
_PROBES = 8


class CASID(ArchiveDataset):
    """CASID, one of its four climates.

    The folder names of the archive could not be checked. Climates, by their short or long names,
    and splits are therefore found in either order. Copies encode the labels in three ways that one
    file does not reveal, so you name the way. It is checked on masks spread over the split
    when the dataset is opened, and again, pixel by pixel, when a mask is read.

    Args:
        root: Folder of the archive, or of the reference's chips.
        climate: `'subms'` (subtropical monsoon), `'temms'` (temperate monsoon), `'troms'`
            (tropical monsoon) or `'trorf'` (tropical rainforest).
        split: `'train'` or `'test'`.
        label_encoding: `'colour'` for RGB masks, `'zero_based'` for background 0 to water 4,
            `'one_based'` for background 1 to water 5, with 0 ignored, as in the reference's chips.
        dtype: See `SceneDataset`.
        download: True raises an error that explains how to get the archive, which has no link.

    Raises:
        LabelError: If masks are encoded in another way.
    """

    archive = casid.CASID

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        climate: Climate,
        split: Literal['train', 'test'] = 'train',
        label_encoding: LabelEncoding,
        dtype: PixelType = 'native',
        download: bool = False,
    ) -> None:
        check_choice('label_encoding', label_encoding, get_args(LabelEncoding))
        part = self.archive.part(climate=climate, split=split)
        place = _place(climate, split)
        codec = _codec(label_encoding)
        chip_codec = ids_after_zero(5) if label_encoding == 'one_based' else codec
        layouts = [
            Layout(
                name='original',
                images=rf'{place}(?:[^/]+/)?(?P<name>[^/]+)(?<![-_]label)\.png',
                masks=rf'{place}(?:[^/]+/)?(?P<name>[^/]+)[-_]label\.png',
                codec=codec,
            ),
            *chip_layouts(
                folders=(climate, f'casid_{climate}', _SHORT[climate]),
                split=split,
                codec=chip_codec,
            ),
        ]
        super().__init__(
            root,
            layouts,
            labels=CASID_CLASSES,
            domain=f'casid_{climate}',
            split=split,
            part=part,
            dtype=dtype,
            download=download,
        )
        self._check_encoding(label_encoding)

    def _check_encoding(self, label_encoding: LabelEncoding) -> None:
        for scene in self.scenes[:: max(len(self.scenes) // _PROBES, 1)]:
            assert scene.mask is not None  # every layout has masks
            with open_raster(scene.mask) as source:
                # a reduced size takes the nearest pixels, so it holds no new colours
                thumbnail = source.read(
                    out_shape=(source.count, min(source.height, 500), min(source.width, 500))
                )
                if label_encoding == 'colour':
                    thumbnail = colours_of(thumbnail, source)
            try:
                _, unknown = self.codec.decode(thumbnail)
            except LabelError as error:
                raise LabelError(
                    f'{scene.mask}: is not encoded as label_encoding={label_encoding!r} states '
                    f'({error}): choose colour, zero_based or one_based'
                ) from error
            if sum(unknown.values()) > 0.01 * thumbnail[0].size:
                raise LabelError(
                    f'{scene.mask}: has {len(unknown)} colours that are not classes of CASID, such '
                    f'as {next(iter(unknown))}: choose zero_based or one_based if it holds ids'
                )


def _place(climate: Climate, split: str) -> str:
    """Folders of a climate and split, in either order or in one name, but never those of chips."""
    zone = rf'(?:casid[-_ ])?(?:{climate}|{_SHORT[climate]}|{_LONG[climate]})'
    part = rf'{split}(?:ing)?'
    either = rf'{zone}/(?:.*/)?{part}|{part}/(?:.*/)?{zone}|{zone}[-_ ]{part}|{part}[-_ ]{zone}'
    return rf'(?!(?:.*/)?(?:img_dir|ann_dir)/)(?:.*/)?(?i:{either})/'


def _codec(label_encoding: LabelEncoding) -> LabelCodec:
    count = CASID_CLASSES.num_classes
    if label_encoding == 'colour':
        return ColourCodec({colour: i for i, colour in enumerate(CASID_CLASSES.palette)})
    if label_encoding == 'zero_based':
        return IdCodec.identity(count)
    return IdCodec({i + 1: i for i in range(count)} | {255: 255})
