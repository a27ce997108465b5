"""The command line of the viewer: `crossearth view`."""

import argparse
from pathlib import Path

from crossearth.labels import LABEL_SPACES

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to the parser of this command."""
    parser.description = (
        'Look at a map over its scene, with swipe, opacity and legend. Writes one HTML page that '
        'opens in any browser without a network, or serves the map from this machine.'
    )
    parser.add_argument('map', help='GeoTIFF of class ids')
    parser.add_argument('--scene', metavar='TIF', help='image that was mapped')
    parser.add_argument(
        '--confidence', metavar='TIF', help='confidence, from crossearth predict --confidence'
    )
    parser.add_argument(
        '-o', '--output', metavar='HTML', help='page to write (default: name of the map, .html)'
    )
    parser.add_argument(
        '--bands',
        type=int,
        nargs='+',
        help='bands of the scene for red, green and blue, counted from 1 (default: those marked as '
        'such, or the first three)',
    )
    parser.add_argument(
        '--labels',
        choices=sorted(LABEL_SPACES),
        help='class names and colours, if the map has none',
    )
    parser.add_argument(
        '--page-px',
        type=int,
        help='longer side of the pictures in the page, in pixels (default: 4096); larger maps are '
        'shown with fewer pixels',
    )
    parser.add_argument(
        '--serve',
        action='store_true',
        help='write no page: serve every pixel of a large map on 127.0.0.1 until Ctrl+C',
    )


def run(arguments: argparse.Namespace) -> str:
    """Write the page, or serve the map.

    Args:
        arguments: Parsed arguments.

    Returns:
        Text to print.

    Raises:
        CrossEarthError: Printed by the command line as one line.
    """
    from crossearth.errors import ConfigError
    from crossearth.rasters import gdal_environment
    from crossearth.viewer import MapServer, open_map_view, write_page
    from crossearth.viewer.page import PAGE_PX

    if arguments.serve and (arguments.output is not None or arguments.page_px is not None):
        raise ConfigError('--serve writes no page: leave out --output and --page-px')
    with (
        gdal_environment(),
        open_map_view(
            arguments.map,
            scene=arguments.scene,
            confidence=arguments.confidence,
            labels=None if arguments.labels is None else LABEL_SPACES[arguments.labels],
            bands=None if arguments.bands is None else tuple(arguments.bands),
        ) as view,
    ):
        if arguments.serve:
            with MapServer(view) as server:
                print(f'open {server.url} in a browser on this machine; Ctrl+C stops', flush=True)
                try:
                    server.run()
                except KeyboardInterrupt:
                    return 'ended'
        output = arguments.output
        page = write_page(
            view,
            Path(arguments.map).with_suffix('.html') if output is None else output,
            page_px=PAGE_PX if arguments.page_px is None else arguments.page_px,
        )
    size = page.stat().st_size / 2**20
    return f'{page}: {size:.1f} MB, open it in a browser: {page.resolve().as_uri()}'
