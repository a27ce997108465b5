"""Arguments that several actions of `crossearth benchmark` share, and how they are read."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.commands.seeing import add_scored_sizes
from crossearth.errors import ConfigError

if TYPE_CHECKING:
    from crossearth.benchmark import Files, RunOptions, Setting

__all__ = [
    'OUTPUT',
    'PARTS',
    'SETTINGS_HELP',
    'add_casid',
    'add_files',
    'add_predictions',
    'add_processes',
    'add_root',
    'add_running',
    'add_scoring',
    'chosen_settings',
    'files_of',
    'module_folders',
    'options_of',
    'seeds_of',
    'tell_or_write',
]

OUTPUT = Path('benchmark')
PARTS = ('style', 'predictor', 'transformer', 'dinov2', 'mtp', 'imagenet')
"""Weights and styles that a training run can start from."""
SETTINGS_HELP = "abbreviations such as 'P(i)2V', all for every setting, or FILE.toml for your own"


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the files that a training run starts from."""
    parser.add_argument('--style', metavar='FILE', help='fitted styles, from crossearth style fit')
    parser.add_argument(
        '--predictor', metavar='FILE', help='style predictor (default: published, downloaded once)'
    )
    parser.add_argument(
        '--transformer',
        metavar='FILE',
        help='style transformer (default: published, downloaded once)',
    )
    parser.add_argument(
        '--dinov2', metavar='FILE', help="DINOv2 weights (default: timm's, downloaded once)"
    )
    parser.add_argument('--mtp', metavar='FILE', help="MTP's RVSA ViT-L weights")
    parser.add_argument(
        '--imagenet', metavar='FILE', help="CNN weights (default: timm's, downloaded once)"
    )


def add_casid(parser: argparse.ArgumentParser) -> None:
    """Add how a copy of CASID encodes its labels, which its files do not tell."""
    parser.add_argument(
        '--casid-labels',
        choices=['colour', 'zero_based', 'one_based'],
        default='colour',
        help='how your copy of CASID encodes its labels (default: colour)',
    )


def add_root(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the folder of the archives."""
    parser.add_argument(
        '--root',
        type=Path,
        required=required,
        help='folder with one subfolder per archive: potsdam, vaihingen, loveda, '
        'deepglobe, massachusetts, rescuenet, whu_aerial, whu_satellite, casid',
    )
    add_casid(parser)


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """Add how models are scored, and where results are written."""
    parser.add_argument(
        '--output',
        type=Path,
        default=OUTPUT,
        metavar='DIR',
        help=f'folder of training runs and results (default: {OUTPUT}; for experiment run, '
        'experiments/NAME)',
    )
    parser.add_argument('--device', help='auto, cpu, cuda, … (default: as in the recipe)')
    parser.add_argument(
        '--batch-size', type=int, default=1, help='windows per batch when scoring (default: 1)'
    )
    parser.add_argument(
        '--workers', type=int, help='processes that read images (default: as in the recipe)'
    )
    parser.add_argument(
        '--flip-tta', action='store_true', help='average predictions with the mirror image'
    )
    parser.add_argument(
        '--whole',
        action='store_true',
        help='score whole images, each pixel once, instead of the chips of the published numbers',
    )
    add_scored_sizes(parser)
    parser.add_argument(
        '--autocast',
        choices=['bfloat16', 'float16'],
        help='compute scores in this half-precision type (default: full precision)',
    )
    parser.add_argument(
        '--partial',
        action='store_true',
        help='accept archives that lack images; results are marked and not compared with the paper',
    )
    parser.add_argument('--quiet', action='store_true', help='show no progress')


def add_running(parser: argparse.ArgumentParser) -> None:
    """Add how models are trained and scored."""
    add_root(parser)
    add_files(parser)
    add_scoring(parser)
    parser.add_argument(
        '--seeds',
        type=int,
        metavar='N',
        help='one training run for each seed from 0 to N-1 (default: the seed of the recipe)',
    )
    parser.add_argument(
        '--steps', type=int, help='training steps; the schedule shrinks or grows with them'
    )
    parser.add_argument(
        '--train-batch-size',
        type=int,
        metavar='N',
        help='windows per training step (default: as in the method, mostly 1)',
    )
    parser.add_argument(
        '--checkpoint-every',
        type=int,
        metavar='STEPS',
        help='steps between checkpoints (default: as in the recipe, or 1000)',
    )
    add_processes(parser)


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add how many runs go in parallel, and where."""
    parser.add_argument(
        '--processes', type=int, default=1, metavar='N', help='runs in parallel (default: 1)'
    )
    parser.add_argument(
        '--ray',
        metavar='ADDRESS',
        help="distribute the runs over a Ray cluster, such as auto, or 'local' for this machine",
    )


def add_predictions(parser: argparse.ArgumentParser) -> None:
    """Add the folder for label maps."""
    parser.add_argument(
        '--save-predictions', type=Path, metavar='DIR', help='write label maps to this folder'
    )


def chosen_settings(arguments: argparse.Namespace) -> 'list[str | Setting]':
    """Settings named on the command line: names as text, files as read settings."""
    from crossearth.benchmark import SETTINGS, read_settings

    chosen: list[str | Setting] = []
    for word in arguments.settings:
        if word == 'all':
            chosen += SETTINGS
        elif word.endswith('.toml'):
            chosen += read_settings(word).values()
        else:
            chosen.append(word)
    return chosen


def module_folders(arguments: argparse.Namespace) -> list[str]:
    """Folders in which to look for the user's modules: of each named file, and the working one."""
    words = [word for word in getattr(arguments, 'settings', []) if word.endswith('.toml')]
    if getattr(arguments, 'recipe', None) is not None:
        words.append(str(arguments.recipe))
    folders = [str(Path(word).resolve().parent) for word in words]
    return list(dict.fromkeys([*folders, str(Path.cwd())]))


def files_of(arguments: argparse.Namespace) -> 'Files':
    """Paths of the archives and of the weights."""
    from crossearth.benchmark import Files

    given = {name: getattr(arguments, name) for name in PARTS}
    return Files(
        data=arguments.root,
        casid_labels=arguments.casid_labels,
        **{name: value for name, value in given.items() if value is not None},
    )


def options_of(
    arguments: argparse.Namespace,
    *,
    checkpoint_every: int | None = None,
    processes: int = 1,
    ray: str | None = None,
    oracle_every: int | None = None,
    save_predictions: Path | None = None,
) -> 'RunOptions':
    """Options for training and scoring."""
    from crossearth.benchmark import RunOptions

    return RunOptions(
        output=arguments.output,
        device=arguments.device,
        batch_size=arguments.batch_size,
        num_workers=arguments.workers,
        checkpoint_every=checkpoint_every,
        oracle_every=oracle_every,
        flip=arguments.flip_tta,
        whole=arguments.whole,
        autocast=arguments.autocast,
        seen_at=arguments.seen_at,
        scales=None if arguments.scales is None else tuple(arguments.scales),
        save_predictions=save_predictions,
        partial=arguments.partial,
        processes=processes,
        ray=ray,
        # in a file, bars are thousands of lines
        progress=not arguments.quiet and sys.stderr.isatty(),
        say=_quiet if arguments.quiet else _say,
    )


def seeds_of(arguments: argparse.Namespace) -> range | None:
    """Seeds of the training runs; None for the one in the recipe.

    Raises:
        ConfigError: If the number of seeds is below 1.
    """
    if arguments.seeds is None:
        return None
    if arguments.seeds < 1:
        raise ConfigError(f'--seeds {arguments.seeds}: expected at least 1')
    return range(arguments.seeds)


def _say(line: str) -> None:
    """Print a line at once, so that it can be followed in a file."""
    print(line, flush=True)


def _quiet(line: str) -> None:
    """Print nothing."""


def tell_or_write(text: str, path: Path | None) -> str:
    """Return the text, or write it to the file and return a line that says so."""
    from crossearth.benchmark import write_whole

    if path is None:
        return text.rstrip('\n')
    write_whole(path, text)
    return f'{path}: written'
