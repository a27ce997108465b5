"""Scores models of an experiment again, each adapted to the unlabelled images of a test set.

    crossearth experiment run performance/rates.yaml --output evidence/rates
    python performance/adapted_models.py performance/rates.yaml evidence/rates \
        evidence/rates_adapted --source massachusetts --methods 'plain 2e-3' 'lora 3e-3'
    python performance/evidence.py pairs evidence/rates_adapted --source massachusetts \
        --theirs 'plain 2e-3' --ours 'plain 2e-3, norms 0.5'

This is domain adaptation: a model sees all test images of a place, without labels. They are seen
as the view that is scored sees them, in the middle of its sizes if it merges several. Scores before
and after are written as results of an experiment, the latter under the name of the method and of
its adaptation. Those that exist are not made again. At the end it prints how often the advice for
or against an adapted model was right. Everything runs on one CPU core.
"""

import argparse
import statistics
import time
from array import array
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from crossearth.adaptation import AdaptationMethod, Norms, PseudoLabels
from crossearth.adaptation.adapt import adapt_to_windows
from crossearth.adaptation.windows import read_windows
from crossearth.benchmark import RunResult, load_results, read_experiment
from crossearth.benchmark.cases import Case, open_dataset
from crossearth.benchmark.evaluation import evaluate_images
from crossearth.benchmark.options import RunOptions
from crossearth.benchmark.results import source_commit
from crossearth.benchmark.runs import Run
from crossearth.datasets import SceneDataset
from crossearth.errors import ConfigError
from crossearth.imagery import imagery_of
from crossearth.inference import View
from crossearth.models import load_model

ADAPTATIONS: dict[str, AdaptationMethod] = {
    'norms 0.5': Norms(0.5),
    'norms 1': Norms(1.0),
    'self-training': PseudoLabels(0.5),
}
MAX_WINDOWS = 64


def view_of(dataset: SceneDataset, case: Case) -> View:
    """How the model sees the images of a case."""
    (own_m,) = {scene.raster.pixel_m for scene in dataset.scenes}
    scale = statistics.median(case.protocol.scales or (1.0,))
    if case.protocol.seen_at == 'native' or own_m is None:
        return View(gsd_m=1.0, scene_gsd_m=scale)  # only their ratio counts
    return View(scene_gsd_m=own_m * scale)


def score_adapted(run: Run, case: Case, args: argparse.Namespace) -> None:
    """Write the scores of a model before and after each of some adaptations."""
    result = RunResult.load(run.result_path(case, 'last', RunOptions(output=args.experiment)))
    if case.protocol != result.protocol:
        raise ConfigError(
            f'{args.file} scores {case.name} in another way than {args.experiment} did'
        )
    into = RunOptions(output=args.into)
    result.save(run.result_path(case, 'last', into))
    places = {
        name: replace(run, name=f'{run.name}, {name}').result_path(case, 'last', into)
        for name in args.adaptations
    }
    missing = [name for name, place in places.items() if not place.exists()]
    if not missing:
        return
    dataset = open_dataset(case.test)
    model = load_model(run.folder(args.experiment) / 'model.safetensors')
    known = imagery_of(model)
    windows = read_windows(
        [scene.image for scene in dataset.scenes],
        known,
        view=view_of(dataset, case),
        max_windows=MAX_WINDOWS,
        seed=run.seed,
    )
    for name in missing:
        start = time.perf_counter()
        made = adapt_to_windows(model, windows, ADAPTATIONS[name], seed=run.seed)
        counts = evaluate_images(made.model, dataset, case.protocol, imagery=known)
        after = replace(
            result,
            method=f'{run.name}, {name}',
            confusion=tuple(map(tuple, counts.sum(0).tolist())),
            image_counts=array('q', counts.flatten().tolist()),
            adaptation=True,
            recipe={**result.recipe, 'advised': made.report.advice.use},
            commit=source_commit(),
            seconds={**result.seconds, 'evaluation': time.perf_counter() - start},
            finished=datetime.now(UTC).isoformat(timespec='seconds'),
        )
        after.save(places[name])
        scores = f'{result.score:.1f} → {after.score:.1f}'
        print(f'{run.name}, seed {run.seed}, {case.name}, {name}: {scores}', flush=True)


def advice_of(folder: Path) -> str:
    """How often the advice for or against an adapted model was right, over a folder's scores."""
    results = load_results(folder)
    before = {(r.setting, r.method, r.seed): r.score for r in results if not r.adaptation}
    lines = []
    for label in ADAPTATIONS:
        told = [
            (r.score - before[r.setting, r.method.removesuffix(f', {label}'), r.seed], r)
            for r in results
            if r.method.endswith(f', {label}') and 'advised' in r.recipe
        ]
        if not told:
            continue
        right = sum((gain > 0) == r.recipe['advised'] for gain, r in told)
        worst = min((gain for gain, r in told if r.recipe['advised']), default=0.0)
        always = sum(gain for gain, _ in told) / len(told)
        followed = sum(gain for gain, r in told if r.recipe['advised']) / len(told)
        lines.append(
            f'{label}: advice right for {right} of {len(told)} maps; mean gain {always:+.1f}, and '
            f'{followed:+.1f} as advised; worst that was advised {worst:+.1f}'
        )
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('file', type=Path, help='file of the experiment')
    parser.add_argument('experiment', type=Path, help='folder of its results')
    parser.add_argument('into', type=Path, help='folder for the results of the adapted models')
    parser.add_argument('--source', required=True)
    parser.add_argument('--methods', nargs='+', required=True)
    parser.add_argument('--seeds', nargs='+', type=int, default=list(range(5)))
    parser.add_argument('--views', nargs='+', default=['right size', 'two surest'])
    parser.add_argument('--adaptations', nargs='+', choices=ADAPTATIONS, default=list(ADAPTATIONS))
    args = parser.parse_args()
    trained = RunOptions(output=args.experiment)
    for run in read_experiment(args.file).runs():
        if run.source != args.source or run.name not in args.methods or run.seed not in args.seeds:
            continue
        for case in run.cases:
            viewed = any(case.name.endswith(f', {view}') for view in args.views)
            scored = run.result_path(case, 'last', trained).exists()
            if viewed and scored and case.target != case.source:
                score_adapted(run, case, args)
    print(advice_of(args.into))


if __name__ == '__main__':
    main()
