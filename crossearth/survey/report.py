"""A survey in words: tables for a terminal, the assumptions, and which line changes each."""

import shlex
from collections import Counter
from collections.abc import Sequence

from crossearth.columns import align_columns
from crossearth.imagery import Imagery
from crossearth.labels import IGNORE_INDEX
from crossearth.survey.encoding import Encoding
from crossearth.survey.mask_values import Value
from crossearth.survey.recipe import Plan, drawn_sizes, has_synthetic_style, line_of
from crossearth.survey.scenes import Fault, Look, SceneSet
from crossearth.survey.split import Split
from crossearth.survey.view import gsd_range, percentiles

__all__ = ['assumptions', 'class_table', 'commands', 'findings', 'scene_table', 'value_table']

_MOST_ROWS = 12
_MOST_NAMES = 5
_WHOLE = 0.98  # share of an image; the masks of large ones may be off by a pixel


def scene_table(sets: Sequence[SceneSet]) -> str:
    """Kinds of scenes, and how many there are of each."""
    rows = [['domain', 'images', 'such as', 'size px', 'CRS', 'GSD m', 'type', 'bands', 'no-data']]
    for found in sets:
        kinds: Counter[tuple[str, ...]] = Counter()
        example: dict[tuple[str, ...], str] = {}
        for look in found.looks:
            kind = _kind(look)
            kinds[kind] += 1
            example.setdefault(kind, look.name)
        for kind, count in kinds.most_common(_MOST_ROWS):
            rows.append([found.name, str(count), example[kind], *kind])
        rest = kinds.most_common()[_MOST_ROWS:]
        if rest:
            more = sum(count for _, count in rest)
            rows.append([found.name, str(more), f'of {len(rest)} other kinds', *[''] * 6])
    return align_columns(rows, left=1)


def _kind(look: Look) -> tuple[str, ...]:
    raster = look.raster
    crs = 'none'
    if raster.crs is not None:
        name = raster.crs.to_authority()
        crs = ':'.join(name) if name else raster.crs.name
    elif raster.georeference.tie is not None:
        crs = f'by {raster.georeference.tie}'
    gsd = 'unknown' if look.gsd_m is None else f'{look.gsd_m:.3g}'
    bands = ' '.join(map(str, raster.bands))
    hides = [f'{value:g}' for value in dict.fromkeys(raster.nodata) if value is not None]
    hides += [f'alpha band {raster.alpha}'] * (raster.alpha is not None)
    hides += ['mask'] * bool(raster.masks)
    size = f'{raster.width} × {raster.height}'
    return size, crs, gsd, raster.dtype, bands, ', '.join(hides) or 'none'


def value_table(found: SceneSet, encoding: Encoding) -> str:
    """How often each value of the masks occurs, and which class it was read as."""
    counts: Counter[Value] = Counter()
    for look in found.looks:
        for tile in look.tiles:
            counts.update(tile.counts)
    total = counts.total()
    rows = [['value', 'pixels', 'share', 'class']]
    for value, count in counts.most_common(_MOST_ROWS):
        (number,) = encoding.classes({value: 1})
        name = 'ignored' if number == IGNORE_INDEX else encoding.labels.classes[number]
        rows.append([_value(value), f'{count:,}', f'{count / total:.2%}', name])
    rest = counts.most_common()[_MOST_ROWS:]
    if rest:
        more = sum(count for _, count in rest)
        rows.append([f'{len(rest)} more', f'{more:,}', f'{more / total:.2%}', ''])
    return align_columns(rows)


def class_table(found: SceneSet, encoding: Encoding, split: Split) -> str:
    """Share of each class among all labelled pixels, and among those held out."""
    counts: Counter[int] = Counter()
    for look in found.looks:
        for tile in look.tiles:
            counts.update(encoding.classes(tile.counts))
    known = max(sum(n for i, n in counts.items() if i != IGNORE_INDEX), 1)
    held = max(sum(split.classes.values()), 1)
    rows = [['class', 'name', 'of all', 'of validation']]
    for i, name in enumerate(encoding.labels.classes):
        rows.append(
            [str(i), name, f'{counts[i] / known:.2%}', f'{split.classes.get(i, 0) / held:.2%}']
        )
    return align_columns(rows, left=2)


def findings(sets: Sequence[SceneSet]) -> list[str]:
    """Which files were paired, which were not, and which cannot be used."""
    lines = []
    for found in sets:
        masks = 'no labels'
        if found.vectors is not None:
            masks = f'labels drawn from {found.vectors.path}'
        elif found.masks is not None:
            masks = f'{found.masks} ({found.image_names} with {found.mask_names})'
        total = len(found.looks) + len(found.faults) + len(found.unpaired)
        lines.append(f'{found.name}: {found.images}, {masks}: {len(found.looks)} of {total} images')
        if found.unpaired:
            lines.append(f'  without a mask, left out: {_some(found.unpaired)}')
        if found.spare:
            lines.append(f'  masks without an image: {_some(found.spare)}')
        lines += [f'  ! {fault.name}: {fault.reason}' for fault in found.faults[:_MOST_NAMES]]
        if len(found.faults) > _MOST_NAMES:
            others = [fault.name for fault in found.faults[_MOST_NAMES:]]
            lines.append(f'  ! and more files: {_some(others)}')
        masks_read = [look for look in found.looks if look.mask is not None]
        if masks_read:
            held = sum(
                sum(tile.height * tile.width for tile in look.mask.tiles)
                for look in masks_read
                if look.mask is not None
            )
            lines.append(f'  {held / 1e6:,.1f} million pixels of its masks were read')
        partly = [look for look in found.looks if look.covered < _WHOLE]
        if partly:
            least = min(look.covered for look in partly)
            lines.append(
                f'  masks that lie on a part of their image (at least {least:.0%} of it; the rest '
                f'has no label): {_some([look.name for look in partly])}'
            )
    return lines


def assumptions(plan: Plan, text: str, untested: Sequence[tuple[str, str]]) -> list[str]:
    """The assumptions, each with the line of the recipe that sets it."""
    view, source = plan.view, plan.source
    said: list[tuple[str, str]] = []
    key = 'codec:' if plan.encoding.codec is not None else 'masks:'
    said.append((key, f'masks: {plan.encoding.why}'))
    said += [
        (f'{found.name}:', f'{found.name}: masks differ: {encoding.why}')
        for found, encoding in plan.unseen
        if encoding.codec is not None and encoding.codec != plan.encoding.codec
    ]
    said.append(('classes:', f'classes are called {", ".join(plan.encoding.labels.classes[:8])}'))
    said.append(('hold_out:', f'validation: {plan.split.text}; {plan.split.share:.0%} of the '
                 'labelled pixels; never trained on'))  # fmt: skip
    if plan.split.left_out:
        said.append(
            (
                'hold_out:',
                f'{plan.split.left_out} images overlap a validation image, and are not used at all',
            )
        )
    said.append(('bands:', f'bands {" ".join(map(str, view.bands))}, in this order'))
    said += _about_values(plan)
    said += _about_pixels(plan)
    if source.vectors is not None and source.vectors.line_width_m is not None:
        said.append(
            ('masks:', f'lines are drawn {source.vectors.line_width_m:g} m wide (line_width_m)')
        )
    said.append(('model:  #', plan.backbone.why))
    drawn = has_synthetic_style(view)
    said.append(
        (
            'style:',
            f'styles come from {"synthetic images" if drawn else "the source alone"}. Styles of an '
            'unseen place would make it adaptation to that place, not generalisation',
        )
    )
    said.append(
        (
            'max_steps:',
            f'{plan.steps} steps of 4 windows of {view.window_px} px: minutes on a GPU, about '
            f'{max(round(plan.steps * 0.6 * (view.window_px / 256) ** 2 / 60), 1)} min on one core '
            'of a CPU, reading not counted; fit shows the rate',
        )
    )
    lines = [f'line {line_of(text, key):3}  {words}' for key, words in said]
    lines += [f'{name}: not tested, {why}' for name, why in untested]
    return lines


def _about_values(plan: Plan) -> list[tuple[str, str]]:
    looks = plan.source.looks
    said = []
    for dtype, (low, high) in plan.view.value_range.items():
        of_type = [look for look in looks if look.raster.dtype == dtype]
        found = percentiles(of_type)
        if found is None:
            said.append(('value_range:', f'{dtype}: {low:g} becomes 0 and {high:g} becomes 1'))
            continue
        least, first, middle, last, most = found
        said.append(
            (
                'value_range:',
                f'{dtype}: {low:g} becomes 0 and {high:g} becomes 1; in the middle of the images, '
                f'values lie from {least:g} to {most:g}, 99 % from {first:g} to {last:g}, half '
                f'below {middle:g}',
            )
        )
    kinds = {look.raster.dtype for look in looks}
    for found_set, _ in plan.unseen:
        other = {look.raster.dtype for look in found_set.looks} - kinds
        if other:
            said.append(
                (
                    'dtype:',
                    f'{found_set.name} has pixels of {", ".join(sorted(other))}, the source of '
                    f'{", ".join(sorted(kinds))}: tests scale each by its own range, but '
                    'the model only knows the range of the source, so predict needs --value-range',
                )
            )
    return said


def _about_pixels(plan: Plan) -> list[tuple[str, str]]:
    view, sizes = plan.view, drawn_sizes(plan.view)
    if view.gsd_range_m is None:
        places = [look.raster.georeference for look in plan.source.looks]
        remedy = '; if you know it, add native_gsd_m to images, such as native_gsd_m: 0.21 (metres)'
        if any(place.has_transform and place.crs_wkt is None for place in places):
            remedy = '; some have a transform without a CRS: add crs, such as crs: EPSG:32633'
        lost = [
            look.raster.path
            for look in plan.source.looks
            if look.gsd_m is None and look.raster.georeference.tie is not None
        ]
        if lost:
            remedy = (
                f'; the CRS and transform of {lost[0]} put it nowhere on the globe: correct them '
                '(gdal_edit.py -a_srs)'
            )
        return [
            (
                'scale:',
                'pixel size unknown, because some images have no place on the ground: training '
                f'windows are shown at {sizes[0]:g} to {sizes[1]:g} times their size, and a scene '
                f'of very different pixel size will be mapped badly{remedy}',
            )
        ]
    said = [
        (
            'gsd_m:',
            f'source: pixels of {_span(view.gsd_range_m)}; each training window is read at a size '
            f'from {_span(sizes)}, and scenes outside that range are seen at its middle',
        )
    ]
    known = Imagery(gsd_range_m=sizes)
    for found, _ in plan.unseen:
        there = gsd_range(found.looks)
        if there is None:
            said.append(
                (
                    f'{found.name}:',
                    f'{found.name}: pixel size unknown, so it is tested in its own pixels, but the '
                    f'model learns {_span(sizes)}: if you know it, add native_gsd_m to images, '
                    'such as native_gsd_m: 0.21 (metres)',
                )
            )
        else:
            own = [look.gsd_m for look in found.looks if look.gsd_m is not None]
            # of every scene, because sizes beyond the range come to its middle
            seen = [known.gsd_for((size, size)) or size for size in own]
            said.append(
                (
                    f'{found.name}:',
                    f'{found.name}: pixels of {_span(there)}, seen at '
                    f'{_span((min(seen), max(seen)))} in tests and maps',
                )
            )
    return said


def _span(sizes: tuple[float, float]) -> str:
    low, high = (f'{size:.3g}' for size in sizes)
    return f'{low} m' if low == high else f'{low} to {high} m'


def commands(recipe: str, example: str, *, needs_gsd: bool) -> str:
    """The three commands to run next."""
    gsd = ' --gsd METRES' if needs_gsd else ''
    return '\n'.join(
        (
            f'  crossearth fit --config {shlex.quote(recipe)}',
            f'  crossearth test --config {shlex.quote(recipe)} --ckpt_path last.ckpt',
            f'  crossearth predict {shlex.quote(example)} map.tif --weights model.safetensors{gsd}',
        )
    )


def _value(value: Value) -> str:
    if isinstance(value, tuple):
        return '#' + ''.join(f'{part:02x}' for part in value)
    return str(value)


def _some(names: Sequence[str] | Sequence[Fault]) -> str:
    shown = ', '.join(str(name) for name in names[:_MOST_NAMES])
    return f'{len(names)}: {shown}{", …" if len(names) > _MOST_NAMES else ""}'
