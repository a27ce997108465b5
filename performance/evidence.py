"""Writes the tables of docs/evidence.md, from the results of experiments on real images.

    crossearth experiment run performance/roads.yaml --output evidence/roads
    python performance/evidence.py runs evidence/roads --into docs/evidence/runs
    python performance/evidence.py pairs evidence/roads --source SOURCE --ours METHOD
    python performance/evidence.py mean evidence/roads --source SOURCE --ours METHOD
    python performance/evidence.py methods docs/evidence/runs/roads.csv --source SOURCE

The first command trains and scores. The second adds one line per score to a file of the name of the
experiment's folder: that of its file in `performance`, or that and what was changed, such as
`roads_1800-steps`. The third prints a method next to the baseline on each domain, and their
difference with two 95 % intervals: over seeds (paired t) and over images (bootstrap of whole
images). The fourth prints the difference of the means over all unseen domains, and `methods` prints
a table of every method with that difference. These three also read a file that the second wrote,
which has no single images, so that intervals over them stay empty.
"""

import argparse
import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crossearth.benchmark import RunResult, load_results, paired_interval
from crossearth.benchmark.intervals import Interval, image_difference_interval, mean_interval
from crossearth.benchmark.results import mean_and_sd, write_whole

COLUMNS = (
    'source',
    'target',
    'view',
    'method',
    'seed',
    'steps',
    'score',
    'images',
    'adaptation',
    'training_s',
    'parameters',
    'commit',
    'fingerprint',
    'finished',
)

SAME = ('source', 'target', 'view', 'method', 'seed', 'steps')  # of a score

type Key = tuple[str, str, str, str]  # source, target, view, method


class Score(NamedTuple):
    """The score of one training run on one domain; a line of a file has no result behind it."""

    source: str
    target: str
    view: str
    method: str
    seed: int
    score: float
    result: RunResult | None = None


def read(path: Path) -> list[Score]:
    """Scores of the folder of an experiment, or of a file that `write_runs` wrote."""
    if path.is_file():
        with path.open(newline='') as file:
            return [
                Score(
                    row['source'],
                    row['target'],
                    row['view'],
                    row['method'],
                    int(row['seed']),
                    float(row['score']),
                )
                for row in csv.DictReader(file)
            ]
    return [
        Score(r.source, r.target, view_of(r), r.method, r.seed, r.score, r)
        for r in load_results(path)
    ]


def view_of(result: RunResult) -> str:
    """Name of the view in which a result was scored; empty for the images' own size."""
    return result.setting.removeprefix(f'{result.source}-to-{result.target}').removeprefix(', ')


def rows(folder: Path) -> Iterator[dict[str, object]]:
    """One line per result in the folder of an experiment."""
    for result in load_results(folder):
        yield {
            'source': result.source,
            'target': result.target,
            'view': view_of(result),
            'method': result.method,
            'seed': result.seed,
            'steps': result.step,
            'score': f'{result.score:.2f}',
            'images': result.images,
            'adaptation': result.adaptation or '',
            'training_s': round(result.seconds['training']),
            'parameters': result.parameters,
            'commit': (result.commit or '')[:7],
            'fingerprint': result.fingerprint,
            'finished': result.finished[:10],
        }


def write_runs(experiment: Path, into: Path) -> int:
    """Add the lines of an experiment to its file in a folder, which is replaced only as a whole.

    A line of the same domains, view, method, seed and steps replaces the former one.
    """
    path = into / f'{experiment.name}.csv'
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    if path.exists():
        with path.open(newline='') as file:
            lines = {tuple(row[name] for name in SAME): row for row in csv.DictReader(file)}
    for row in rows(experiment):
        words = {name: str(value) for name, value in row.items()}
        lines[tuple(words[name] for name in SAME)] = words
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator='\n')
    writer.writeheader()
    writer.writerows(line for _, line in sorted(lines.items()))
    write_whole(path, text.getvalue())
    return len(lines)


def grouped(scores: Sequence[Score]) -> dict[Key, list[Score]]:
    """Scores by source, target, view and method, in the order of the seeds."""
    groups: dict[Key, list[Score]] = {}
    for score in scores:
        key = (score.source, score.target, score.view, score.method)
        groups.setdefault(key, []).append(score)
    for group in groups.values():
        group.sort(key=lambda score: score.seed)
        if len({score.seed for score in group}) < len(group):
            raise SystemExit(
                f'{group[0].method}: two results have the same seed: remove the old results'
            )
    return groups


def differences(ours: Sequence[Score], theirs: Sequence[Score]) -> tuple[str, str, str]:
    """Mean difference over the seeds of both, with its intervals over seeds and over images."""
    seeds = sorted({s.seed for s in ours} & {s.seed for s in theirs})
    if not seeds:
        return '', '', ''
    a, b = ([s for s in group if s.seed in seeds] for group in (ours, theirs))
    scores = [s.score for s in a], [s.score for s in b]
    mean = sum(scores[0]) / len(seeds) - sum(scores[1]) / len(seeds)
    results = [[s.result for s in group if s.result is not None] for group in (a, b)]
    over_images = ''
    if all(len(group) == len(seeds) for group in results):
        over_images = _interval(
            image_difference_interval(
                *(np.stack([r.image_matrices.numpy() for r in group]) for group in results),
                scored=results[0][0].scored,
            )
        )
    return _signed(mean), _interval(paired_interval(*scores)), over_images


def _interval(interval: Interval) -> str:
    if not interval.known:
        return '–'
    text = f'{_signed(interval.low)} … {_signed(interval.high)}'
    return f'**{text}**' if interval.excludes_zero else text


def pairs(path: Path, source: str, ours: str, theirs: str) -> str:
    """Two methods next to each other, for every way in which both were scored, as Markdown."""
    groups = grouped(read(path))
    lines = [
        f'| scored on | seen at | seeds | {theirs} | {ours} | difference '
        '| over seeds | over images |',
        '|---|---|---|---|---|---|---|---|',
    ]
    for key, baseline in sorted(groups.items()):
        at, target, view, method = key
        group = groups.get((at, target, view, ours))
        if at != source or method != theirs or group is None:
            continue
        seeds = {r.seed for r in group} & {r.seed for r in baseline}
        spreads = [
            _spread([r.score for r in each if r.seed in seeds]) for each in (baseline, group)
        ]
        cells = (target, view or 'own size', str(len(seeds)), *spreads)
        lines.append(f'| {" | ".join((*cells, *differences(group, baseline)))} |')
    return '\n'.join(lines)


def seen_at(
    groups: dict[Key, list[Score]],
    source: str,
    method: str,
    views: Sequence[str],
    without: Sequence[str] = (),
) -> dict[str, str]:
    """For each unseen domain, the first of the preferred views in which a method was scored."""
    seen: dict[str, str] = {}
    targets = {key[1] for key in groups if key[0] == source} - {source}
    if unknown := sorted(set(without) - targets):
        raise SystemExit(f'{source} has no scores on {unknown[0]}, which is to be left out')
    for target in sorted(targets - set(without)):
        view = next((v for v in views if (source, target, v, method) in groups), None)
        if view is None:
            raise SystemExit(f'{source} to {target}: {method} has no result in {views}')
        seen[target] = view
    return seen


def mean_of_unseen(
    groups: dict[Key, list[Score]], source: str, method: str, seen: dict[str, str]
) -> dict[int, float]:
    """Mean over unseen domains by seed, for the seeds that were scored on all of them."""
    of_seed: dict[int, list[float]] = {}
    for target, view in seen.items():
        for result in groups.get((source, target, view, method), ()):
            of_seed.setdefault(result.seed, []).append(result.score)
    return {s: sum(v) / len(v) for s, v in of_seed.items() if len(v) == len(seen)}


def methods(
    path: Path,
    source: str,
    theirs: str,
    views: Sequence[str],
    only: Sequence[str] = (),
    without: Sequence[str] = (),
) -> str:
    """Every method in a row: its scores, their mean over unseen domains, and differences.

    Differences are to the baseline, seed by seed, with 95 % intervals over seeds.

    Args:
        path: Folder or file of the experiment.
        source: Training domain.
        theirs: The baseline.
        views: As in `mean_over`.
        only: Methods to show, in this order; all of them if empty.
        without: Domains that are no unseen places, such as validation images.
    """
    groups = grouped(read(path))
    seen = seen_at(groups, source, theirs, views, without)
    known = list(dict.fromkeys(key[3] for key in groups if key[0] == source))
    order = list(only) or sorted(known, key=lambda method: method != theirs)
    if unknown := sorted(set(order) - set(known)):
        raise SystemExit(f'{path} has no {unknown[0]}: expected some of {", ".join(known)}')
    columns = {source: '', **seen}
    lines = [
        f'| trained with | seeds | {" | ".join(columns)} | mean of the unseen | difference '
        '| on the source |',
        '|---|' + '---|' * (len(columns) + 4),
    ]
    baseline = mean_of_unseen(groups, source, theirs, seen)
    at_home = {r.seed: r.score for r in groups[source, source, '', theirs]}
    for method in order:
        unseen = mean_of_unseen(groups, source, method, seen)
        cells = [method, str(len(unseen))]
        for target, view in columns.items():
            group = groups.get((source, target, view, method), [])
            cells.append(_spread([r.score for r in group if r.seed in unseen]))
        cells.append(f'**{_spread(list(unseen.values()))}**')
        home = {r.seed: r.score for r in groups.get((source, source, '', method), [])}
        for mine, other in ((unseen, baseline), (home, at_home)):
            shared = sorted(set(mine) & set(other))
            cells.append('' if method == theirs or not shared else _change(mine, other, shared))
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def _spread(scores: Sequence[float]) -> str:
    if not scores:
        return ''
    mean, sd = mean_and_sd(scores)
    return f'{mean:.1f}' + ('' if math.isnan(sd) else f' ± {sd:.1f}')


def _change(ours: dict[int, float], theirs: dict[int, float], seeds: Sequence[int]) -> str:
    a, b = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
    interval = paired_interval(a, b)
    known = f' ({_interval(interval)})' if interval.known else ''
    return _signed((sum(a) - sum(b)) / len(seeds)) + known


def _signed(points: float) -> str:
    return f'{points:+.1f}'.replace('-', '−')


def mean_over(path: Path, source: str, ours: str, theirs: str, views: Sequence[str]) -> str:
    """Difference of the mean over all unseen domains, with its interval over seeds.

    Args:
        path: Folder or file of the experiment.
        source: Training domain, which is left out of the mean.
        ours: A method.
        theirs: The baseline.
        views: Preferred views: for each domain, the first of these in which it was scored is used.
    """
    groups = grouped(read(path))
    seen = seen_at(groups, source, theirs, views)
    if seen_at(groups, source, ours, views) != seen:
        raise SystemExit(f'{source}: {ours} and {theirs} were scored in different views')
    means = [mean_of_unseen(groups, source, method, seen) for method in (ours, theirs)]
    seeds = sorted(set(means[0]) & set(means[1]))
    a, b = ([mean[seed] for seed in seeds] for mean in means)
    shown = ', '.join(f'{target} ({view or "own size"})' for target, view in seen.items())
    return (
        f'mean over {shown}; {len(seeds)} seeds: {ours} {sum(a) / len(a):.1f} '
        f'({_interval(mean_interval(a))}), {theirs} {sum(b) / len(b):.1f}; difference '
        f'{_signed(sum(a) / len(a) - sum(b) / len(b))} ({_interval(paired_interval(a, b))})'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest='command', required=True)
    runs = commands.add_parser('runs', help='write one line per score')
    runs.add_argument('folders', nargs='+', type=Path)
    runs.add_argument('--into', type=Path, required=True)
    over = commands.add_parser('mean', help='print the difference of the means over unseen domains')
    over.add_argument('path', type=Path)
    over.add_argument('--source', required=True)
    over.add_argument('--ours', required=True)
    over.add_argument('--theirs', default='plain')
    over.add_argument('--views', nargs='+', default=['right size', 'three sizes', ''])
    both = commands.add_parser('pairs', help='print two methods next to each other')
    both.add_argument('path', type=Path)
    both.add_argument('--source', required=True)
    both.add_argument('--ours', required=True)
    both.add_argument('--theirs', default='plain')
    every = commands.add_parser('methods', help='print every method in a row')
    every.add_argument('path', type=Path)
    every.add_argument('--source', required=True)
    every.add_argument('--theirs', default='plain')
    every.add_argument('--views', nargs='+', default=['two surest', ''])
    every.add_argument('--only', nargs='+', default=[], help='methods, in the order of the rows')
    every.add_argument('--without', nargs='+', default=[], help='domains that are not unseen')
    args = parser.parse_args()
    if args.command == 'runs':
        for folder in args.folders:
            print(f'{folder.name}: {write_runs(folder, args.into)} scores')
    elif args.command == 'pairs':
        print(pairs(args.path, args.source, args.ours, args.theirs))
    elif args.command == 'methods':
        print(methods(args.path, args.source, args.theirs, args.views, args.only, args.without))
    else:
        print(mean_over(args.path, args.source, args.ours, args.theirs, args.views))


if __name__ == '__main__':
    main()
