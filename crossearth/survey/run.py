"""Turns folders of images and masks into a recipe that trains on them."""

import os
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import shapely
from pyproj import CRS

from crossearth.datasets.cut import footprint_of
from crossearth.datasets.scene import Scene
from crossearth.errors import ConfigError, CrossEarthError, LabelError, SceneError, WriteError
from crossearth.inference.writer import check_place, whole_file, write_text
from crossearth.labels import IGNORE_INDEX
from crossearth.rasters import Alpha
from crossearth.survey import report
from crossearth.survey.encoding import Encoding, guess_encoding, with_vectors
from crossearth.survey.recipe import Backbone, Plan, write_recipe
from crossearth.survey.scenes import SceneSet, gather, same_bands
from crossearth.survey.split import split_by_place
from crossearth.survey.view import View, choose_view, gsd_range

__all__ = ['Domain', 'start']

BACKBONE = 'tf_efficientnet_lite0'


@dataclass(frozen=True, slots=True)
class Domain:
    """Images of one place that the command line names.

    Args:
        name: Name of the domain.
        images: Folder of the images.
        labels: Folder of the masks, or a vector file; None to look for masks among the images.
    """

    name: str
    images: str
    labels: str | None = None


def start(
    source: Domain,
    unseen: Sequence[Domain] = (),
    *,
    recipe: str | os.PathLike[str] = 'recipe.yaml',
    bands: Sequence[int] | None = None,
    alpha: Alpha = 'auto',
    pretrained: str | None = None,
    ignore: Sequence[int] = (),
    say: Callable[[str], None] = lambda _: None,
    progress: bool = True,
) -> Path:
    """Inspect images and labels, and write a recipe for `crossearth fit`.

    Args:
        source: The images to train on.
        unseen: Other places. Those with labels are tested on, and none is trained on.
        recipe: File to write.
        bands: Bands to read, counted from 1; None for all but alpha.
        alpha: What a band that a file calls alpha is: `'mask'` marks where there is data, `'image'`
            is a band like others, `'auto'` decides by its values.
        pretrained: Weights file for the backbone; None for the ImageNet weights that are installed
            with crossearth.
        ignore: Mask values that stand for no class.
        say: Receives each part of the report.
        progress: Whether to show progress bars.

    Returns:
        The path of the recipe.

    Raises:
        WriteError: If the file exists, or cannot be written.
        SceneError: If no image can be used, or no labels can be found.
        LabelError: If the labels cannot be classes.
        ConfigError: If the images do not match each other, or are too few to be split, two places
            have one name, or the folder of the recipe does not exist.
    """
    # checked before the images are read, which may take a minute
    target = Path(recipe)
    if target.exists():
        raise WriteError(
            f'{target} exists and is not replaced: remove it, or choose another name with --output'
        )
    check_place(target)
    names = Counter(domain.name for domain in (source, *unseen))
    name, times = names.most_common(1)[0]
    if times > 1:
        raise ConfigError(f'{times} places are named {name}: give each its own name')
    backbone = _backbone(pretrained)
    sets = []
    for domain in (source, *unseen):
        found = gather(
            domain.name, domain.images, domain.labels, bands=bands, alpha=alpha, progress=progress
        )
        say('\n'.join(report.findings([found])))
        if not found.looks:
            raise SceneError(
                f'{found.images}: none of {len(found.faults)} images can be used: fix the first, '
                f'{found.faults[0].name}: {found.faults[0].reason}'
            )
        sets.append(found)
    say('\n' + report.scene_table(sets))
    first = sets[0]
    if not first.labelled:
        raise SceneError(
            f'{first.images}: found no masks among these images, and none were given: pass them '
            f'with crossearth start {shlex.quote(first.images)} MASKS, a folder of masks or a '
            'vector file'
        )
    chosen = same_bands(sets)
    encoding = _encoding(first, ignore)
    say(f'\n{report.value_table(first, encoding)}')
    view = choose_view(first, sets[1:], chosen)
    split = split_by_place(first.looks, encoding, window_px=view.window_px)
    say(f'\n{report.class_table(first, encoding, split)}')
    tested, untested = _tested(sets[1:], encoding, view)
    workers = min(os.cpu_count() or 1, 8) if shutil.which('nvidia-smi') else 0
    plan = Plan(first, tested, encoding, view, split, backbone, workers)
    text = write_recipe(plan, recipe=shlex.quote(str(target)))
    notes = [*_missing_classes(plan), *_shared_ground(first, sets[1:])]
    with whole_file(target) as temporary:
        write_text(temporary, text)
    say(
        f'\n{target} is written. What it assumes, and the line to change:\n'
        + '\n'.join([*report.assumptions(plan, text, untested), *notes])
    )
    example = sets[-1].looks[0] if len(sets) > 1 else None
    needs_gsd = example is not None and view.gsd_range_m is not None and example.gsd_m is None
    scene = 'scene.tif' if example is None else example.raster.path
    say('\nNext:\n' + report.commands(str(target), scene, needs_gsd=needs_gsd))
    return target


def _backbone(pretrained: str | None) -> Backbone:
    """The encoder with installed or given weights; nothing is downloaded."""
    if pretrained is not None:
        if not Path(pretrained).is_file():
            raise ConfigError(f'{pretrained} does not exist: expected weights of {BACKBONE}')
        return Backbone(BACKBONE, pretrained, f'{BACKBONE}, with the weights of {pretrained}')
    return Backbone(
        BACKBONE, 'installed', f'{BACKBONE}, with the ImageNet weights that come with crossearth'
    )


def _encoding(found: SceneSet, ignore: Sequence[int]) -> Encoding:
    """The classes of labelled images.

    Raises:
        LabelError: If there are fewer than two.
    """
    hint = f'{found.images} {found.masks or ""}'
    if found.vectors is None:
        masks = [look.mask for look in found.looks if look.mask is not None]
        return guess_encoding(masks, hint=hint, ignore=ignore)
    encoding = with_vectors(os.fspath(found.vectors.path), hint=hint)
    counts = _counts(found, encoding)
    if len(counts) < 2:
        drawn = 'cover every pixel' if counts.get(1) else 'touch none'
        raise LabelError(
            f'{os.fspath(found.vectors.path)}: its features {drawn} of {len(found.looks)} images '
            f'in {found.images}: expected them to cover part of some images; check that images and '
            'features are at the same place'
        )
    return encoding


def _counts(found: SceneSet, encoding: Encoding) -> Counter[int]:
    counts: Counter[int] = Counter()
    for look in found.looks:
        for tile in look.tiles:
            counts.update(encoding.classes(tile.counts))
    return Counter({i: n for i, n in counts.items() if n and i != IGNORE_INDEX})


def _tested(
    sets: Sequence[SceneSet], encoding: Encoding, view: View
) -> tuple[list[tuple[SceneSet, Encoding]], list[tuple[str, str]]]:
    """Unseen domains that can be tested on, with their encodings; the others with the reason."""
    tested: list[tuple[SceneSet, Encoding]] = []
    untested: list[tuple[str, str]] = []
    for found in sets:
        if not found.labelled:
            why = 'because it has no masks: map it with predict'
            if view.gsd_range_m is not None and gsd_range(found.looks) is None:
                why += '. Its pixel size is not known: state it there (--gsd METRES)'
            untested.append((found.name, why))
            continue
        try:
            own = _same_classes(found, encoding)
        except CrossEarthError as error:
            untested.append((found.name, f'because its labels do not match: {error}'))
        else:
            tested.append((found, own))
    return tested, untested


def _same_classes(found: SceneSet, encoding: Encoding) -> Encoding:
    """How the masks of an unseen domain encode the classes of the source.

    Raises:
        LabelError: If they hold other classes.
    """
    own = with_vectors(os.fspath(found.vectors.path)) if found.vectors is not None else None
    if own is None:
        masks = [look.mask for look in found.looks if look.mask is not None]
        values = {value for mask in masks for value in mask.counts()}
        if encoding.codec is not None and encoding.threshold is None and encoding.reads(values):
            # if the source has 0, 1 and 255, then 0 and 255 are two classes, not one plus ignored
            ids = {encoding.ids[value] for value in values}
            if encoding.labels.num_classes != 2 or IGNORE_INDEX not in ids or len(ids) != 2:
                return encoding
        own = guess_encoding(masks)
    if own.labels.num_classes != encoding.labels.num_classes or own.labels.num_classes != 2:
        raise LabelError(
            f'{own.why}, but the source has {", ".join(encoding.labels.classes)}: expected the '
            'same values'
        )
    return own


def _missing_classes(plan: Plan) -> list[str]:
    missing = [
        name
        for i, name in enumerate(plan.encoding.labels.classes)
        if not plan.split.classes.get(i) and _counts(plan.source, plan.encoding)[i]
    ]
    if not missing:
        return []
    return [f'validation holds no {", ".join(missing)}, so their IoU will be missing there']


def _shared_ground(source: SceneSet, others: Sequence[SceneSet]) -> list[str]:
    """Warnings for unseen domains that overlap the source on the ground, so are not unseen."""
    if not others:
        return []
    degrees = CRS.from_epsg(4326)

    def ground(found: SceneSet) -> list[shapely.Geometry]:
        # local CRSs have no place on the globe
        looks = [
            look
            for look in found.looks
            if look.raster.crs is not None and look.raster.georeference.has_size
        ]
        return [footprint_of(Scene(look.raster), degrees) for look in looks]

    here = ground(source)
    tree = shapely.STRtree(here)
    notes = []
    for found in others:
        there = ground(found)
        count = len({int(i) for i in tree.query(there, 'intersects')[0]}) if there else 0
        if count:
            notes.append(
                f'{found.name}: {count} of its images overlap the source on the ground, so scores '
                'there are not those of an unseen place'
            )
    return notes
