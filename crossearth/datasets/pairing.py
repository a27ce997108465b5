"""Which mask belongs to which image, by their names.

A pattern states what the names of images, or of masks, have in common. In `IMG_*` the `*` stands
for what distinguishes images, and a mask belongs to the image with the same text there.
"""

import itertools
import re
from collections.abc import Sequence

from crossearth.datasets.files import RasterFile
from crossearth.errors import LabelError

__all__ = ['guess_patterns', 'looks_like_mask', 'pair_files']

type Key = tuple[str, ...]

_MASK_WORDS = re.compile(
    r'(?<![a-z])(mask|label|gt|msk|lbl|seg|segmentation|annotation|ann|target|groundtruth|truth)s?'
    r'(?![a-z])',
    re.IGNORECASE,
)


def pair_files(
    images: Sequence[RasterFile],
    masks: Sequence[RasterFile],
    *,
    image_names: str = '*',
    mask_names: str = '*',
) -> list[tuple[RasterFile, RasterFile | None]]:
    """Pair each image with its mask, or with None.

    A pattern without `/` describes names without their extensions, and a mask lies in the same
    subfolder as its image. A pattern with `/` describes paths below the folder, in which `*` may
    also stand for folders. Images that do not match their pattern are left out, and so are files
    that are the mask of another image.

    Args:
        images: Images, and perhaps other files.
        masks: Masks, and perhaps other files.
        image_names: Pattern of the images.
        mask_names: Pattern of the masks.

    Raises:
        LabelError: If two masks match one image, or two images one mask.

    Example:
        >>> image, mask = RasterFile((), 'IMG_7', 'img/IMG_7.tif'), RasterFile((), 'MSK_7', 'm.png')
        >>> pair_files([image], [mask], image_names='IMG_*', mask_names='MSK_*') == [(image, mask)]
        True
    """
    found: dict[Key, RasterFile] = {}
    for file, key in _keyed(masks, mask_names):
        twin = found.setdefault(key, file)
        if twin.path != file.path:
            raise LabelError(
                f'{file.path}: {twin.path} is a mask of the same name: keep one of the two'
            )
    pairs = [(file, found.get(key)) for file, key in _keyed(images, image_names)]
    # where both share a folder, a mask also fits the pattern of images, as its own mask
    pairs = [(file, None if mask and mask.path == file.path else mask) for file, mask in pairs]
    used = {mask.path for _, mask in pairs if mask is not None}
    pairs = [(file, mask) for file, mask in pairs if file.path not in used]
    owners: dict[str, RasterFile] = {}
    for file, mask in pairs:
        if mask is not None and owners.setdefault(mask.path, file).path != file.path:
            raise LabelError(
                f'{file.path}: {owners[mask.path].path} is an image of the same name, so both '
                f'would have the mask {mask.path}: keep one of the two, or name one in leave_out'
            )
    return pairs


def guess_patterns(images: Sequence[RasterFile], masks: Sequence[RasterFile]) -> tuple[str, str]:
    """Patterns of images and of masks that pair most of them, the simplest such patterns.

    Names may differ in their beginnings and ends, and in one folder of their paths.

    Example:
        >>> images = [RasterFile((), f'{i}_sat', f'{i}_sat.jpg') for i in (104, 999)]
        >>> masks = [RasterFile((), f'{i}_mask', f'{i}_mask.png') for i in (104, 999)]
        >>> guess_patterns(images, masks)
        ('*_sat', '*_mask')
    """
    best, most = ('*', '*'), 0
    # shortest first: only a pattern that pairs more replaces a simpler one
    for image_names, mask_names in sorted(
        itertools.product(_candidates(images, masks), _candidates(masks, images)),
        key=lambda both: (len(both[0]) + len(both[1]), both),
    ):
        known = {key for _, key in _keyed(masks, mask_names)}
        count = len({key for _, key in _keyed(images, image_names)} & known)
        if count > most:
            best, most = (image_names, mask_names), count
    return best


def looks_like_mask(file: RasterFile) -> bool:
    """Whether the name of a file, or of a folder on its path, suggests that it is a mask.

    Example:
        >>> [looks_like_mask(RasterFile((), stem, '')) for stem in ('104_mask', '104')]
        [True, False]
    """
    return any(_MASK_WORDS.search(part) for part in (*file.below, file.stem))


def _keyed(files: Sequence[RasterFile], pattern: str) -> list[tuple[RasterFile, Key]]:
    fits = re.compile('(.*)'.join(map(re.escape, pattern.split('*')))).fullmatch
    whole = '/' in pattern
    keyed = []
    for file in files:
        match = fits('/'.join((*file.below, file.stem)) if whole else file.stem)
        if match is not None:
            keyed.append((file, (*(() if whole else file.below), *match.groups())))
    return keyed


def _candidates(files: Sequence[RasterFile], others: Sequence[RasterFile]) -> list[str]:
    """Patterns that match all the files."""
    stems = [file.stem for file in files]
    start = _letters(_shared_start(stems))
    end = _letters(_shared_start([stem[::-1] for stem in stems]))[::-1]
    if min(map(len, stems)) < len(start) + len(end):  # the names are the same, or nearly
        end = ''
    folders = ['']
    below = {file.below for file in files}
    if len(below) == 1 and files[0].below:
        folders.append('/'.join(files[0].below) + '/')
    shared = set.intersection(*(set(file.below) for file in files))
    own = shared - {folder for file in others for folder in file.below}
    if len(own) == 1:
        folders.append(f'*{own.pop()}/')
    return [
        f'{folder}{first}*{last}'
        for folder, first, last in itertools.product(folders, {'', start}, {'', end})
    ]


def _shared_start(texts: Sequence[str]) -> str:
    least, greatest = min(texts), max(texts)  # what these two share, all texts in between share
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(least, greatest, strict=False))
    return ''.join(letter for letter, _ in same)


def _letters(text: str) -> str:
    """The beginning of a text before its first digit, because numbers distinguish images."""
    return re.split(r'\d', text, maxsplit=1)[0]
