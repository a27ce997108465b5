"""The command line of `write_catalogue`: `crossearth catalog`."""

import argparse

__all__ = ['add_arguments', 'describe_catalogue', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Describe the maps of a folder as a STAC catalogue: catalog.json, and one item per map.'
    )
    parser.add_argument('folder', help='folder of maps, searched with its subfolders')
    parser.add_argument(
        '--time',
        help='when the scenes were taken, in UTC: 2021-06-30, 2021-06-30T10:20:30Z, or two times '
        'with a slash between them (default: from --items or the files of the scenes)',
    )
    parser.add_argument(
        '--items', metavar='JSON', help='STAC items of the mapped scenes, for times and links'
    )
    parser.add_argument('--title', help='title of the catalogue (default: name of the folder)')


def run(arguments: argparse.Namespace) -> str:
    """Write the catalogue.

    Args:
        arguments: Parsed arguments.

    Returns:
        Text to print.

    Raises:
        CrossEarthError: If a map cannot be described, or a file cannot be written.
    """
    return describe_catalogue(
        arguments.folder, time=arguments.time, items=arguments.items, title=arguments.title
    )


def describe_catalogue(
    folder: str, *, time: str | None = None, items: str | None = None, title: str | None = None
) -> str:
    """Write the catalogue of a folder, and return a summary."""
    from crossearth.catalog import write_catalogue

    made = write_catalogue(folder, time=time, scene_items=items, title=title)
    lines = [f'{made.path}: {made.items} maps']
    if made.undated:
        lines.append(
            f'{made.undated} of them have scenes with no known time: set it with '
            'crossearth catalog --time'
        )
    if made.left_out:
        lines.append(f'{len(made.left_out)} rasters are not maps and were left out')
    return '\n'.join(lines)
