"""LoveDA: three Chinese cities and their countryside, seven classes."""

from crossearth.archives.archive import Archive, Download, Part
from crossearth.labels import LabelSpace

__all__ = ['LOVEDA', 'LOVEDA_CLASSES']

LOVEDA_CLASSES = LabelSpace(
    name='loveda',
    classes=('background', 'building', 'road', 'water', 'barren', 'forest', 'agricultural'),
    palette=(
        (255, 255, 255),
        (255, 0, 0),
        (255, 255, 0),
        (0, 0, 255),
        (159, 129, 183),
        (0, 255, 0),
        (255, 195, 128),
    ),
)
"""The seven classes of LoveDA."""

# Image numbers run on through the splits and domains, which identifies images in a merged tree.
_NUMBERS = {
    ('train', 'rural'): range(1366),
    ('train', 'urban'): range(1366, 2522),
    ('val', 'rural'): range(2522, 3514),
    # 677 images, although the paper prints 667
    ('val', 'urban'): range(3514, 4191),
}
_RECORD = 'https://zenodo.org/records/5706578'
_MD5 = {
    'Train': 'de2b196043ed9b4af1690b3f9a7d558f',
    'Val': '84cae2577468ff0b5386758bb386d31d',
    'Test': 'a489be0090465e01fb067795d24e6b47',
}

LOVEDA = Archive(
    name='LoveDA',
    title='Nanjing, Changzhou and Wuhan from space: urban and rural, 1024 x 1024, seven classes',
    parts=tuple(
        Part(
            options={'split': split, 'domain': domain},
            sizes=((1024, 1024, len(numbers)),),
            ids=frozenset(map(str, numbers)),
        )
        for (split, domain), numbers in _NUMBERS.items()
    ),
    gsd_m=0.3,
    chip_px=1024,
    georeferencing='none',
    licence='CC BY-NC-SA 4.0',
    citation='Wang et al., LoveDA, NeurIPS Datasets and Benchmarks, 2021',
    url=_RECORD,
    how_to_get='Open it with download=True, or unpack Train.zip and Val.zip into one folder.',
    downloads=tuple(
        Download(f'{_RECORD}/files/{name}.zip', f'{name}.zip', md5, name, split=name.lower())
        for name, md5 in _MD5.items()
    ),
)
