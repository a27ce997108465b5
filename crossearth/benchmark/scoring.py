"""Scores an existing model, such as a released one."""

import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from crossearth.benchmark.cases import case_of, check_complete, coverage_of, open_dataset
from crossearth.benchmark.options import RunOptions
from crossearth.benchmark.recipes import Files
from crossearth.benchmark.results import RunResult, hardware, source_commit, versions
from crossearth.benchmark.runner import count_images
from crossearth.benchmark.runs import find_settings
from crossearth.benchmark.settings import Setting
from crossearth.benchmark.training import alone
from crossearth.errors import LabelError
from crossearth.labels import LabelSpace
from crossearth.models import load_model, read_model_info
from crossearth.trainers.notices import hushed

__all__ = ['score_model']

_FILES = Files()
_WORKERS = 4  # unlike a recipe, a model file does not set a number


def score_model(
    path: Path,
    settings: Sequence[str | Setting],
    *,
    options: RunOptions,
    files: Files = _FILES,
    method: str | None = None,
) -> list[RunResult]:
    """Score a model from `save_model` on the targets of some settings, by their protocol.

    Results are stored next to those of `run_benchmark` and appear in the same report. Existing
    results are not made again.

    Args:
        path: The `.safetensors` file.
        settings: Abbreviations, which are keys of `SETTINGS`, or your own settings.
        options: Where and how.
        files: Paths of data.
        method: Name in the report; by default the name of the file. With the name of one of
            `METHODS`, the report compares it with what is published for that method.

    Raises:
        ConfigError: If a setting does not exist.
        CheckpointError: If the file is not a model.
        LabelError: If the classes of the model differ from those of a setting.
        SceneNotFoundError: If an archive does not exist.
        SceneError: If an archive lacks images, unless the options allow it.
    """
    chosen = find_settings(settings)
    info = read_model_info(path)
    _check_classes(path, info.labels, chosen)
    name = path.stem if method is None else method
    with path.open('rb') as file:
        mark = hashlib.file_digest(file, 'sha256').hexdigest()[:8]
    cases = [case_of(setting, files) for setting in chosen]
    targets = {case.name: open_dataset(case.test) for case in cases}
    if not options.partial:
        for case in cases:
            check_complete(case.target, targets[case.name])
    results = []
    folder = options.output / 'models' / f'{name}-{mark}'
    with alone(folder), hushed():
        model = load_model(path).to(options.torch_device)
        for case in cases:
            target = targets[case.name]
            protocol = options.protocol(case.protocol)
            how = hashlib.sha256(str(protocol).encode()).hexdigest()[:8]
            place = options.output / 'results' / case.name / f'{name}-{mark}' / f'model-{how}.json'
            maps = options.save_predictions
            if maps is not None:
                maps = maps / case.name / f'{name}-{mark}'
            if place.is_file() and (maps is None or maps.exists()):
                known = RunResult.load(place)
                if known.scores(case.test, protocol):
                    results.append(known)
                    continue
            start = time.perf_counter()
            counts = count_images(
                model,
                case,
                target,
                options,
                num_workers=_WORKERS if options.num_workers is None else options.num_workers,
                maps=maps,
            )
            result = RunResult(
                setting=case.name,
                source=case.source,
                target=case.target,
                method=name,
                seed=0,
                selection='last',
                step=0,
                fingerprint=mark,
                classes=target.labels.classes,
                scored=target.labels.scored,
                confusion=counts.confusion,
                image_names=counts.names,
                image_counts=counts.by_image,
                images=counts.images,
                seen=counts.seen,
                coverage={'test': coverage_of(target)},
                adaptation=info.adaptation is not None,
                protocol=protocol,
                recipe={'model': {'file': path.name, 'builder': info.blueprint.builder}},
                versions=versions(),
                hardware={'evaluation': hardware(options.torch_device)},
                commit=source_commit(),
                seconds={'evaluation': time.perf_counter() - start},
                memory_bytes=None,
                parameters=sum(p.numel() for p in model.parameters()),
                finished=datetime.now(UTC).isoformat(timespec='seconds'),
                test=case.test,
            )
            result.save(place)
            options.say(f'{name}: {case.name} {result.score:.1f} {result.metric}')
            results.append(result)
    return results


def _check_classes(path: Path, labels: LabelSpace | None, settings: Sequence[Setting]) -> None:
    """Refuse a model whose classes differ from those of a setting."""
    classes = None if labels is None else labels.classes
    for setting in settings:
        wanted = setting.target.labels
        if classes != wanted.classes:
            raise LabelError(
                f'{path}: its classes are {classes}, but {setting.name} has {wanted.classes}: '
                'choose a setting with the classes of the model'
            )
