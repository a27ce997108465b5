"""The command line of `mosaic_maps`: `crossearth mosaic`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from crossearth.labels import LABEL_SPACES

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = 'Merge overlapping maps of one label space into one map.'
    parser.add_argument('maps', nargs='+', help='maps, folders of maps, or lists (.txt, .csv)')
    parser.add_argument(
        'mosaic',
        help='file to write: .tif (cloud-optimised), or .vrt, which refers to maps of one grid',
    )
    parser.add_argument(
        '--rule',
        choices=['centre', 'first', 'last', 'majority', 'confidence', 'blend'],
        default='centre',
        help='what decides where maps overlap: centre (the map whose edges are farther away), '
        'first or last in the list, majority (the most frequent class), confidence (the most '
        'confident map), or blend (the mean of their probabilities) (default: %(default)s)',
    )
    parser.add_argument(
        '--crs', help='CRS of the mosaic, such as EPSG:32633 (default: that of most maps)'
    )
    parser.add_argument(
        '--pixel-size',
        type=float,
        help='pixel size in units of the CRS (default: that of most maps)',
    )
    parser.add_argument(
        '--confidences',
        nargs='+',
        metavar='TIF',
        help='for --rule confidence: one file per map, or a folder of files with the names of the '
        'maps',
    )
    parser.add_argument(
        '--probabilities',
        nargs='+',
        metavar='TIF',
        help='for --rule blend: one file per map, or a folder of files with the names of the maps',
    )
    parser.add_argument(
        '--labels', choices=sorted(LABEL_SPACES), help='class names and colours, if maps have none'
    )
    parser.add_argument(
        '--no-qgis-style',
        dest='qgis_style',
        action='store_false',
        help='write no .qml style and no attribute table for QGIS',
    )
    parser.add_argument('--quiet', action='store_true', help='show no progress')


def run(arguments: argparse.Namespace) -> str:
    """Write the mosaic.

    Args:
        arguments: Parsed arguments.

    Returns:
        Text to print.

    Raises:
        CrossEarthError: If the maps do not fit together, or the mosaic cannot be written.
    """
    from crossearth.inference import summarise_map
    from crossearth.mosaic import mosaic_maps

    maps, left_out = _maps_of(arguments)
    made = mosaic_maps(
        maps,
        arguments.mosaic,
        rule=arguments.rule,
        crs=arguments.crs,
        pixel_size=arguments.pixel_size,
        confidences=_of_each_map(arguments.confidences, arguments.maps, maps),
        probabilities=_of_each_map(arguments.probabilities, arguments.maps, maps),
        labels=None if arguments.labels is None else LABEL_SPACES[arguments.labels],
        qgis_style=arguments.qgis_style,
        progress=not arguments.quiet,
    )
    moved = f', {made.moved} of them on other pixels' if made.moved else ''
    lines = [f'{made.path}: {made.maps} maps{moved}, by {made.rule}, in {made.seconds:.1f} s']
    if left_out:
        lines.append(f'left out other mosaics in the folder of the maps: {", ".join(left_out)}')
    return '\n'.join([*lines, made.grid, str(summarise_map(made.path))])


def _maps_of(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Maps that are named or found in a folder, and other mosaics found there, to be left out."""
    from crossearth.inference import find_scenes
    from crossearth.mosaic import is_mosaic

    further = [*(arguments.confidences or ()), *(arguments.probabilities or ())]
    folders = [Path(name).resolve() for name in further if Path(name).is_dir()]
    mosaic = Path(arguments.mosaic).resolve()
    maps: list[str] = []
    left_out: list[str] = []
    for source in arguments.maps:
        found = find_scenes(source)
        if Path(source).is_dir():
            # an earlier run may have left a mosaic in the folder of its maps, and further
            # files that it wrote in a folder below
            found = [path for path in found if _is_map(Path(path).resolve(), mosaic, folders)]
            mosaics = {path for path in found if is_mosaic(path)}
            if len(mosaics) < len(found):  # a folder of mosaics alone may be merged further
                left_out += sorted(mosaics)
                found = [path for path in found if path not in mosaics]
        maps += found
    return maps, left_out


def _is_map(path: Path, mosaic: Path, folders: Sequence[Path]) -> bool:
    return path != mosaic and not any(path.is_relative_to(folder) for folder in folders)


def _of_each_map(
    given: Sequence[str] | None, sources: Sequence[str], maps: Sequence[str]
) -> list[str] | None:
    """The given files, or those of a folder that have the names of the maps."""
    from crossearth.inference import tasks_of

    if given is None or len(given) != 1 or not Path(given[0]).is_dir():
        return None if given is None else list(given)
    by_map = {task.scene: str(task.destination) for task in tasks_of(sources, given[0])}
    return [by_map[path] for path in maps]
