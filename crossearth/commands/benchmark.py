"""The command line of the benchmark: `crossearth benchmark list | show | recipe | run | …`."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crossearth.errors import ConfigError

if TYPE_CHECKING:
    from crossearth.benchmark import Files, Row, RunOptions, RunResult

__all__ = ['add_arguments', 'run']

_OUTPUT = Path('benchmark')
_SETTINGS = "abbreviations, such as 'P(i)2V'; all for every setting"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments to a parser of their own."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    actions.add_parser('list', help='every setting, with what the paper reports')
    show = actions.add_parser('show', help='one setting in full')
    show.add_argument('name', help="abbreviation from the list, such as 'P(i)2V'")
    actions.add_parser('methods', help='what can be trained: the paper, baselines, ablations')
    _add_recipe(actions.add_parser('recipe', help='the complete recipe of a training, as YAML'))
    run_parser = actions.add_parser(
        'run',
        help='train and score settings',
        description='Train each method on the sources of some settings, once for each seed, and '
        'score it on their targets. The same command goes on where it was stopped.',
    )
    run_parser.add_argument('settings', nargs='+', help=_SETTINGS)
    run_parser.add_argument(
        '--method',
        nargs='+',
        default=['crossearth'],
        metavar='METHOD',
        help='names from `crossearth benchmark methods` (crossearth)',
    )
    run_parser.add_argument(
        '--recipe', type=Path, metavar='FILE', help='a recipe of your own, in place of a method'
    )
    _add_running(run_parser)
    run_parser.add_argument(
        '--oracle-every',
        type=int,
        metavar='STEPS',
        help='score checkpoints that many steps apart too, and report the best on the unseen '
        'domain as oracle, apart from the last',
    )
    run_parser.add_argument(
        '--save-predictions', type=Path, metavar='DIR', help='write label maps below this folder'
    )
    score = actions.add_parser(
        'score',
        help='score a model that is there, such as a converted release',
        description='Score a weights file on the targets of settings. The results stand in the '
        'same report as those of run.',
    )
    score.add_argument('weights', type=Path, help='.safetensors, of fit, run or weights convert')
    score.add_argument('settings', nargs='+', help=_SETTINGS)
    score.add_argument(
        '--method', help='what to call it; crossearth or rein to compare with the paper (file name)'
    )
    _add_root(score)
    _add_scoring(score)
    score.add_argument(
        '--save-predictions', type=Path, metavar='DIR', help='write label maps below this folder'
    )
    _add_report(actions.add_parser('report', help='a table of what was run, beside the paper'))
    sweep = actions.add_parser(
        'sweep',
        help='vary the share and side of masked patches, as Tables 11 and 12 do',
        description='Train CrossEarth on the source of some settings for each pair of τ and B, '
        'and draw a table and a picture of the scores.',
    )
    sweep.add_argument('settings', nargs='+', help=_SETTINGS)
    sweep.add_argument(
        '--of',
        choices=['styled', 'masked'],
        default='styled',
        help='image whose patches vary: styled for Table 11, masked for Table 12 (styled)',
    )
    sweep.add_argument('--tau', type=float, nargs='+', metavar='TAU', help='shares (0.1 … 0.9)')
    sweep.add_argument('--patch', type=int, nargs='+', metavar='PX', help='sides (16 … 256)')
    _add_running(sweep)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--style', metavar='FILE', help='fitted styles, from crossearth style fit')
    parser.add_argument(
        '--predictor', metavar='FILE', help='style predictor (published weights, fetched once)'
    )
    parser.add_argument('--transformer', metavar='FILE', help='style transformer (likewise)')
    parser.add_argument('--dinov2', metavar='FILE', help="DINOv2's weights (timm's, fetched once)")
    parser.add_argument('--mtp', metavar='FILE', help="MTP's RVSA ViT-L")
    parser.add_argument('--imagenet', metavar='FILE', help="a CNN's weights (timm's, fetched once)")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('source', nargs='?', help='domain to train on, such as potsdam_irrg')
    parser.add_argument('--method', default='crossearth', help='what is trained (crossearth)')
    parser.add_argument('--steps', type=int, help='steps, with the schedule in proportion')
    parser.add_argument('--seed', type=int, default=0, help='seed (0)')
    parser.add_argument('--root', default='data', help='folder of the archives (data)')
    _add_files(parser)
    _add_casid(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--output', type=Path, metavar='FILE', help='file to write; else printed')
    where.add_argument(
        '--all', type=Path, metavar='DIR', help='write every published recipe into a folder'
    )


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--root',
        type=Path,
        required=True,
        help='folder that holds one folder for each archive: potsdam, vaihingen, loveda, '
        'deepglobe, massachusetts, rescuenet, whu_aerial, whu_satellite, casid',
    )
    _add_casid(parser)


def _add_casid(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--casid-labels',
        choices=['colour', 'zero_based', 'one_based'],
        default='colour',
        help='how your copy of CASID encodes its labels (colour)',
    )


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--output', type=Path, default=_OUTPUT, metavar='DIR', help='trainings and results'
    )
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, … (auto)')
    parser.add_argument('--batch-size', type=int, default=1, help='windows at a time, scoring (1)')
    parser.add_argument('--workers', type=int, default=4, help='reading processes (4)')
    parser.add_argument('--flip-tta', action='store_true', help='average with the mirror image')
    parser.add_argument(
        '--whole',
        action='store_true',
        help='score whole images, each pixel once, not the chips of the published numbers',
    )
    parser.add_argument('--quiet', action='store_true', help='no progress')


def _add_running(parser: argparse.ArgumentParser) -> None:
    _add_root(parser)
    _add_files(parser)
    _add_scoring(parser)
    parser.add_argument('--seeds', type=int, default=1, help='trainings, seeds 0 to N-1 (1)')
    parser.add_argument('--steps', type=int, help='steps, with the schedule in proportion')
    parser.add_argument('--train-batch-size', type=int, default=1, help='windows a step (1)')
    parser.add_argument(
        '--checkpoint-every', type=int, default=1000, metavar='STEPS', help='(1000)'
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'folder', type=Path, nargs='?', default=_OUTPUT, help=f'output of run ({_OUTPUT})'
    )
    parser.add_argument('--format', choices=['md', 'csv', 'html'], default='md')
    parser.add_argument('--baseline', default='rein', help='method to compare with (rein)')
    parser.add_argument('--output', type=Path, metavar='FILE', help='file to write; else printed')
    parser.add_argument(
        '--radar', type=Path, metavar='FILE', help='draw the scores of the last step as PNG'
    )


def run(arguments: argparse.Namespace, *, say: Callable[[str], None] = print) -> None:
    """Do what the arguments ask for.

    Args:
        arguments: As parsed.
        say: Where lines go.

    Raises:
        CrossEarthError: If an argument, a file or an archive is wrong; says what to do.
    """
    actions = {
        'list': _list,
        'show': _show,
        'methods': _methods,
        'recipe': _recipe,
        'run': _run,
        'score': _score,
        'report': _report,
        'sweep': _sweep,
    }
    actions[arguments.action](arguments, say)


def _list(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:  # noqa: ARG001  # of every action
    from crossearth.benchmark import SETTINGS

    say(
        f'{"setting":9} {"gap":16} {"source":18} {"target":18} {"train":>6} {"test":>6}  CrossEarth'
    )
    for setting in SETTINGS.values():
        say(
            f'{setting.name:9} {setting.gap:16} {setting.source.name:18} '
            f'{setting.target.name:18} {setting.n_train:6} {setting.n_test:6}  '
            f'{setting.reported["CrossEarth"].miou:.1f} {setting.metric}'
        )


def _show(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    from crossearth.benchmark import SETTINGS, Protocol

    if arguments.name not in SETTINGS:
        raise ConfigError(
            f'{arguments.name}: no such setting; expected one of {", ".join(SETTINGS)}'
        )
    setting = SETTINGS[arguments.name]
    labels = setting.source.labels
    say(f'{setting.name}: {setting.source.name} -> {setting.target.name}, gap {setting.gap}')
    say(f'chips of {setting.chip_px}: {setting.n_train} to train, {setting.n_test} images to test')
    say(f'tested on: {Protocol.of(setting)}')
    say(f'classes of {labels.name}: {", ".join(labels.classes)}; score: {setting.metric}')
    for name, masking in (('styled', setting.styled), ('masked', setting.masked)):
        say(f'{name} image: tau {masking.tau}, patches of {masking.patch_px} px')
    say(f'loss of the masked flow: {setting.mim_loss}')
    say(f'released checkpoints: {", ".join(setting.checkpoints) or "none"}')
    say('published, in percent:')
    for method, result in setting.reported.items():
        classes = ', '.join(f'{name} {iou:.1f}' for name, iou in result.per_class.items())
        say(f'  {method:10} {result.miou:5.1f}  {classes}'.rstrip())
    for note in setting.notes:
        say(f'note: {note}')


def _methods(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:  # noqa: ARG001  # of every action
    from crossearth.benchmark import METHODS

    for method in METHODS.values():
        say(f'{method.name:21} {method.title}')


def _recipe(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    from crossearth.benchmark import Variation, format_recipe, recipe_files, write_whole

    if arguments.all is not None:
        texts = recipe_files()
        for name, text in texts.items():
            write_whole(arguments.all / name, text)
        say(f'{arguments.all}: {len(texts)} recipes')
        return
    if arguments.source is None:
        raise ConfigError('name a domain to train on, such as potsdam_irrg; or all with --all DIR')
    text = format_recipe(
        arguments.source,
        arguments.method,
        files=_files(arguments),
        variation=Variation(steps=arguments.steps),
        seed=arguments.seed,
    )
    _tell_or_write(text, arguments.output, say)


def _run(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    from crossearth.benchmark import Variation, format_markdown, run_benchmark, summarise

    if arguments.seeds < 1:
        raise ConfigError(f'--seeds {arguments.seeds}: expected at least 1')
    results = run_benchmark(
        _chosen(arguments),
        options=_options(
            arguments,
            say,
            checkpoint_every=arguments.checkpoint_every,
            oracle_every=arguments.oracle_every,
            save_predictions=arguments.save_predictions,
        ),
        files=_files(arguments),
        methods=arguments.method,
        seeds=range(arguments.seeds),
        variation=Variation(steps=arguments.steps, batch_size=arguments.train_batch_size),
        recipe=arguments.recipe,
    )
    say(format_markdown(summarise(results)))


def _score(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    from crossearth.benchmark import Files, format_markdown, score_model, summarise

    results = score_model(
        arguments.weights,
        _chosen(arguments),
        options=_options(arguments, say, save_predictions=arguments.save_predictions),
        files=Files(data=arguments.root, casid_labels=arguments.casid_labels),
        method=arguments.method,
    )
    say(format_markdown(summarise(results)))


def _chosen(arguments: argparse.Namespace) -> list[str]:
    from crossearth.benchmark import SETTINGS

    names: list[str] = arguments.settings
    return list(SETTINGS) if names == ['all'] else names


def _report(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    from crossearth.benchmark import (
        format_csv,
        format_html,
        format_markdown,
        load_results,
        summarise,
    )

    rows = summarise(load_results(arguments.folder), baseline=arguments.baseline)
    if arguments.radar is not None:
        _radar(rows, arguments.radar)
    if arguments.format == 'html':
        picture = None if arguments.radar is None else arguments.radar.read_bytes()
        text = format_html(rows, picture=picture)
    else:
        text = format_csv(rows) if arguments.format == 'csv' else format_markdown(rows)
    _tell_or_write(text, arguments.output, say)


def _radar(rows: 'Sequence[Row]', path: Path) -> None:
    """Scores of the last step under the most frequent protocol of a setting, and the paper's."""
    from crossearth.benchmark import SETTINGS
    from crossearth.visualization import draw_radar, save_figure

    measured: dict[str, dict[str, float]] = {}
    shown: dict[str, str] = {}
    for row in rows:
        if row.selection == 'last' and shown.setdefault(row.setting, str(row.protocol)) == str(
            row.protocol
        ):
            scores = measured.setdefault(row.method, {})
            name = row.method
            if row.setting in scores:  # another training of the same method
                name = f'{row.method} [{row.fingerprint}]'
                scores = measured.setdefault(name, {})
            scores[row.setting] = row.mean
    settings = [name for name in SETTINGS if name in shown]
    quoted = {
        f'{title}, paper': {name: SETTINGS[name].reported[title].miou for name in settings}
        for title in ('CrossEarth', 'Rein')
    }
    figure = draw_radar(
        settings,
        {**measured, **quoted},
        quoted={'CrossEarth, paper': 'crossearth', 'Rein, paper': 'rein'},
        title='Score on the unseen domain in %, model of the last step',
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def _sweep(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    from crossearth.benchmark import (
        PATCHES_PX,
        SWEEPS,
        TAUS,
        run_benchmark,
        sweep_scores,
        sweep_variations,
    )
    from crossearth.visualization import draw_grid, save_figure

    if arguments.seeds < 1:
        raise ConfigError(f'--seeds {arguments.seeds}: expected at least 1')
    settings = _chosen(arguments)
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
            options=_options(arguments, say, checkpoint_every=arguments.checkpoint_every),
            files=_files(arguments),
            seeds=range(arguments.seeds),
            variation=variation,
        )
    for setting in dict.fromkeys(settings):
        scores = sweep_scores(results, arguments.of, setting)
        title = f'{setting}, {arguments.of} image, mean of {arguments.seeds} seed(s)'
        say(f'{title}, {results[0].protocol}:')
        say(_grid(scores))
        paper = SWEEPS[arguments.of]
        printed = {(m.tau, m.patch_px): v for m, v in paper.scores.get(setting, {}).items()}
        if printed:
            say(f'{paper.title}, as printed ({paper.note}):')
            say(_grid(printed))
        path = arguments.output / f'sweep-{setting}-{arguments.of}.png'
        save_figure(draw_grid(scores, title=title), path)
        say(f'{path}: picture')


def _grid(scores: 'Mapping[tuple[float, int], float]') -> str:
    """A line a share, a column a side."""
    from crossearth.trainers import align_columns

    taus, sides = sorted({tau for tau, _ in scores}), sorted({side for _, side in scores})
    lines = [[f'{tau:g}', *(f'{scores[tau, side]:.1f}' for side in sides)] for tau in taus]
    return align_columns([['τ \\ B', *map(str, sides)], *lines])


def _files(arguments: argparse.Namespace) -> 'Files':
    from crossearth.benchmark import Files

    given = {
        'style': arguments.style,
        'predictor': arguments.predictor,
        'transformer': arguments.transformer,
        'dinov2': arguments.dinov2,
        'mtp': arguments.mtp,
        'imagenet': arguments.imagenet,
    }
    return Files(
        data=arguments.root,
        casid_labels=arguments.casid_labels,
        **{name: value for name, value in given.items() if value is not None},
    )


def _options(
    arguments: argparse.Namespace,
    say: Callable[[str], None],
    *,
    checkpoint_every: int = 1000,
    oracle_every: int | None = None,
    save_predictions: Path | None = None,
) -> 'RunOptions':
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
        save_predictions=save_predictions,
        progress=not arguments.quiet,
        say=_quiet if arguments.quiet else say,
    )


def _quiet(line: str) -> None:
    """Say nothing."""


def _tell_or_write(text: str, path: Path | None, say: Callable[[str], None]) -> None:
    from crossearth.benchmark import write_whole

    if path is None:
        say(text.rstrip('\n'))
        return
    write_whole(path, text)
    say(f'{path}: written')
