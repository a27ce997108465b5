"""
Your own archive
================

A published archive becomes a class that finds its files, knows what should be there, and is
checked in one call.
"""

# %%
# What the archive is
# -------------------
# ``Archive`` holds what is published about it. A ``Layout`` says by regular expressions where
# images and masks lie; the groups of both name an image. The codec turns the values of the mask
# files into classes: here low green and trees out of the six classes of the synthetic Earth.

import tempfile
from pathlib import Path

from crossearth.archives import Archive, Part
from crossearth.datasets import ArchiveDataset, Layout, check_archive
from crossearth.labels import IdCodec, LabelSpace
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

GREEN = LabelSpace(
    'green', ('other', 'low green', 'trees'), ((90, 90, 90), (230, 200, 60), (20, 120, 60))
)
PARKS = Archive(
    name='Parks',
    title='Parks of one city from the air, 0.25 m',
    parts=tuple(
        Part(options={'split': split}, sizes=((256, 256, 2),)) for split in ('train', 'test')
    ),
    gsd_m=0.25,
    chip_px=128,
    georeferencing='that of the files',
    licence='own',
    citation='none',
    url='none',
    how_to_get='Ask the city.',
)


class Parks(ArchiveDataset):
    """Parks of one city."""

    archive = PARKS

    def __init__(self, root: str, *, split: str = 'train') -> None:
        layout = Layout(
            name='original',
            images=rf'(?:.*/)?{split}/images/(?P<name>[^/]+)[.]tif',
            masks=rf'(?:.*/)?{split}/masks/(?P<name>[^/]+)[.]tif',
            codec=IdCodec({0: 0, 1: 0, 2: 1, 3: 2, 4: 0, 5: 0, 255: 255}),
        )
        super().__init__(root, [layout], labels=GREEN, domain='parks', split=split)


# %%
# A copy of it
# ------------
# The folders above the split may have any names.

work = Path(tempfile.mkdtemp())
for split, start in (('train', 0), ('test', 2)):
    SyntheticEarth(seed=2).write(
        work, EARTH_DOMAINS['source'], scenes=2, size_px=256, split=split, start=start
    )
parks = Parks(str(work))
parks

# %%
# The check reads every file to its end.

for finding in check_archive(Parks, work):
    print('wrong:' if finding.wrong else 'fine: ', finding.part, '-', finding.text)

# %%
# Now a mask is lost, and the check names its image.

lost = sorted(work.glob('*/test/masks/*.tif'))[0]
lost.unlink()
for finding in check_archive(Parks, work):
    text = finding.text.replace(f'{work}/', '')
    print('wrong:' if finding.wrong else 'fine: ', finding.part, '-', text)

# %%
# Samples come in the classes of the archive.

figure = parks.plot(parks[0], suptitle='a scene of the archive')

# %%
# In a recipe the class is ``class_path: mine.Parks``, and ``crossearth data check mine:Parks
# FOLDER`` runs the check. :doc:`Your own archive and settings </own_archive>` has the rest.
