"""Scores models of an experiment again, each adapted to the unlabelled images of a test set.

    crossearth experiment run performance/rates.yaml --output evidence/rates
    python performance/adapted_models.py performance/rates.yaml evidence/rates \
        evidence/rates_adapted --source massachusetts --methods 'plain 2e-3' 'lora 3e-3'
    python performance/evidence.py pairs evidence/rates_adapted --source massachusetts \
        --theirs 'plain 2e-3' --ours 'plain 2e-3, norms 0.5'

This is domain adaptation: a model sees all test images of a place, without labels. They are seen as
the map sees them, at the right pixel size where it is known, and at 0.7 times their size where it
is not, in the middle of the three that the view merges. Scores before and after are written as
results of an experiment, the latter under the name of the method and of its adaptation. Those that
exist are not made again. At the end it prints how often the advice for or against an adapted model
was right. Everything runs on one CPU core.
"""

import argparse
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
from crossearth.benchmark.results import source_commit
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
MIDDLE_SCALE = 0.7
MAX_WINDOWS = 64


def weights_of(result: RunResult, experiment: Path) -> Path:
    """The file of the scored model."""
    folder = f'{result.method}-{result.fingerprint}'
    return (
        experiment / 'trainings' / result.source / folder / f'seed{result.seed}/model.safetensors'
    )


def view_of(dataset: SceneDataset, case: Case) -> View:
    """How the model sees the images of a case."""
    (own_m,) = {scene.raster.pixel_m for scene in dataset.scenes}
    if case.protocol.seen_at == 'native' and case.protocol.scales is None:
        return View(gsd_m='native')
    if own_m is None:  # the ratio of two distances that nobody knows
        return View(gsd_m=1.0, scene_gsd_m=MIDDLE_SCALE)
    return View(scene_gsd_m=own_m)


def adapted(result: RunResult, case: Case, weights: Path, label: str) -> RunResult:
    """The result of the model after it was adapted to the images of the case."""
    dataset = open_dataset(case.test)
    model = load_model(weights)
    start = time.perf_counter()
    images = [scene.image for scene in dataset.scenes]
    known = imagery_of(model)
    windows = read_windows(
        images, known, view=view_of(dataset, case), max_windows=MAX_WINDOWS, seed=result.seed
    )
    made = adapt_to_windows(model, windows, ADAPTATIONS[label], seed=result.seed)
    counts = evaluate_images(made.model, dataset, case.protocol, imagery=known)
    return replace(
        result,
        method=f'{result.method}, {label}',
        confusion=tuple(map(tuple, counts.sum(0).tolist())),
        image_counts=array('q', counts.flatten().tolist()),
        adaptation=True,
        recipe={**result.recipe, 'advised': made.report.advice.use},
        commit=source_commit(),
        seconds={**result.seconds, 'evaluation': time.perf_counter() - start},
        finished=datetime.now(UTC).isoformat(timespec='seconds'),
    )


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
    cases = {case.name: case for run in read_experiment(args.file).runs() for case in run.cases}
    for result in load_results(args.experiment):
        case = cases.get(result.setting)
        asked = (
            case is not None
            and result.source == args.source != result.target
            and result.method in args.methods
            and result.seed in args.seeds
            and any(result.setting.endswith(f', {view}') for view in args.views)
        )
        if case is None or not asked:
            continue
        if case.protocol != result.protocol:
            raise ConfigError(
                f'{args.file} scores {result.setting} in another way than {args.experiment} did'
            )
        for label in (None, *args.adaptations):
            name = result.method if label is None else f'{result.method}, {label}'
            place = args.into / 'results' / result.setting / f'{name}-{result.fingerprint}'
            place /= f'seed{result.seed}-last.json'
            if place.exists():
                continue
            made = result
            if label is not None:
                made = adapted(result, case, weights_of(result, args.experiment), label)
            made.save(place)
            print(f'{name}, seed {result.seed}, {result.setting}: {made.score:.1f}', flush=True)
    print(advice_of(args.into))


if __name__ == '__main__':
    main()
