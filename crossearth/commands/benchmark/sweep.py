"""`crossearth benchmark sweep`: vary the share and the side of masked patches."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from crossearth.columns import align_columns
from crossearth.commands.benchmark.arguments import (
    SETTINGS_HELP,
    add_running,
    chosen_settings,
    files_of,
    options_of,
    seeds_of,
)

if TYPE_CHECKING:
    from crossearth.benchmark import RunResult

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the action takes."""
    parser.description = (
        'Train CrossEarth on the source of the settings for each pair of τ and B (share and side '
        'of the masked patches), and write a table and a picture of the scores.'
    )
    parser.add_argument('settings', nargs='+', help=SETTINGS_HELP)
    parser.add_argument(
        '--of',
        choices=['styled', 'masked'],
        default='styled',
        help='image whose patches vary: styled for Table 11, masked for Table 12 '
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--tau', type=float, nargs='+', metavar='TAU', help='shares (default: 0.1 to 0.9)'
    )
    parser.add_argument(
        '--patch', type=int, nargs='+', metavar='PX', help='sides in pixels (default: 16 to 256)'
    )
    add_running(parser)


def run(arguments: argparse.Namespace) -> str:
    """Train and score each pair, draw a picture per setting, and return tables of the scores.

    Raises:
        CrossEarthError: If an argument, a file or an archive is wrong. The message says what to do.
    """
    from crossearth.benchmark import (
        PATCHES_PX,
        SWEEPS,
        TAUS,
        run_benchmark,
        sweep_scores,
        sweep_variations,
    )
    from crossearth.visualization import draw_grid, save_figure

    settings, seeds = chosen_settings(arguments), seeds_of(arguments)
    names = [setting if isinstance(setting, str) else setting.name for setting in settings]
    lines: list[str] = []
    results: list[RunResult] = []
    for variation in sweep_variations(
        arguments.of,
        taus=arguments.tau or TAUS,
        patches_px=arguments.patch or PATCHES_PX,
        steps=arguments.steps,
        batch_size=arguments.train_batch_size,
    ):
        results += run_benchmark(
            settings,
            options=options_of(
                arguments,
                checkpoint_every=arguments.checkpoint_every,
                processes=arguments.processes,
                ray=arguments.ray,
            ),
            files=files_of(arguments),
            seeds=seeds,
            variation=variation,
        )
    for setting in dict.fromkeys(names):
        scores = sweep_scores(results, arguments.of, setting)
        title = f'{setting}, {arguments.of} image, mean of {arguments.seeds or 1} seed(s)'
        protocol = next(result.protocol for result in results if result.setting == setting)
        lines.append(f'{title}, {protocol}:')
        lines.append(_grid(scores))
        paper = SWEEPS[arguments.of]
        printed = {(m.tau, m.patch_px): v for m, v in paper.scores.get(setting, {}).items()}
        if printed:
            lines.append(f'{paper.title}, as printed ({paper.note}):')
            lines.append(_grid(printed))
        path = arguments.output / f'sweep-{setting}-{arguments.of}.png'
        save_figure(draw_grid(scores, title=title), path)
        lines.append(f'{path}: picture')
    return '\n'.join(lines)


def _grid(scores: 'Mapping[tuple[float, int], float]') -> str:
    """One line per share, one column per side."""
    taus, sides = sorted({tau for tau, _ in scores}), sorted({side for _, side in scores})
    lines = [[f'{tau:g}', *(f'{scores[tau, side]:.1f}' for side in sides)] for tau in taus]
    return align_columns([['τ \\ B', *map(str, sides)], *lines])
