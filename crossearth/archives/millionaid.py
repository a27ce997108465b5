"""Million-AID: a million scenes of the Earth, for their styles."""

from crossearth.archives.archive import Archive, Part

__all__ = ['MILLION_AID']

MILLION_AID = Archive(
    name='MillionAID',
    title='A million scenes of the Earth from Google Earth, without pixel labels: a style source',
    parts=tuple(Part(options={'split': split}, labelled=False) for split in ('train', 'test')),
    gsd_m=None,
    chip_px=512,
    georeferencing='none',
    licence='terms of its authors: research only',
    citation='Long et al., On Creating Benchmark Dataset for Aerial Image Interpretation, 2021',
    url='https://captain-whu.github.io/DiRS/',
    how_to_get=(
        'Download train.zip (MD5 1b40503cafa9b0601653ca36cd788852) or test.zip (MD5 '
        '51a63ee3eeb1351889eacff349a983d8) from its page and unpack it into one folder, so that '
        'the folder contains train or test.'
    ),
)
