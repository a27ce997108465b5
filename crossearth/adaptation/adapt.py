"""A model and scenes in, an adapted model and a report out."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from crossearth.adaptation.advice import advise
from crossearth.adaptation.change import measure_change
from crossearth.adaptation.gap import measure_gap
from crossearth.adaptation.method import AdaptationMethod
from crossearth.adaptation.report import Report
from crossearth.adaptation.windows import SceneWindows, read_windows
from crossearth.errors import ConfigError
from crossearth.imagery import imagery_of
from crossearth.inference.request import View
from crossearth.models import load_model, read_model_info, save_model
from crossearth.models.freezing import frozen_names
from crossearth.models.weights.adaptation_record import AdaptationRecord
from crossearth.modes import evaluating, moved_to

__all__ = ['Adaptation', 'adapt_file', 'adapt_model']


@dataclass(frozen=True, slots=True)
class Adaptation:
    """An adapted model, and what is to be known before it is used.

    Args:
        model: A copy; the model that was given is as before.
        report: How far the scenes are from the source, what has changed, and whether adapting is
            advised.
    """

    model: nn.Module
    report: Report


def adapt_model(
    model: nn.Module,
    scenes: Sequence[str | Path],
    method: AdaptationMethod,
    *,
    view: View = View(),
    tile_px: int = 512,
    max_windows: int = 64,
    seed: int = 0,
) -> Adaptation:
    """Adapt a model to the scenes that it is to map, without labels.

    Windows are drawn from the scenes as `predict_scene` would show them, so `view` and `tile_px`
    should be those of the map. The result is the same for the same arguments.

    Args:
        model: Images (b, c, h, w) in [0, 1] → logits (b, k, h, w); one that `load_model` gives
            knows its bands, values and ground sampling distance.
        scenes: Paths, or anything that GDAL opens.
        method: `Norms`, `Tent`, `PseudoLabels`, or your own.
        view: How the model is to see the scenes.
        tile_px: Side of a window.
        max_windows: Windows of all scenes together.
        seed: Chooses the windows, and what the method draws.

    Returns:
        The adapted model, and a report.

    Raises:
        ConfigError: If the method does not apply to the model, or makes weights that are not
            finite.
        SceneError: If the scenes have no data.
        CrossEarthError: As `predict_scene`.

    Example:
        >>> import tempfile, numpy as np, rasterio
        >>> from crossearth.adaptation import Norms
        >>> path = Path(tempfile.mkdtemp()) / 'a.tif'
        >>> with rasterio.open(
        ...     path, 'w', width=9, height=7, count=1, dtype='uint8', crs='EPSG:32633',
        ...     transform=rasterio.Affine(0.5, 0, 4e5, 0, -0.5, 5e6),
        ... ) as scene:
        ...     scene.write(np.full((1, 7, 9), 51, 'uint8'))
        >>> model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 1)).eval()
        >>> adapted = adapt_model(model, [path], Norms(alpha=0.5)).model
        >>> model[0].running_mean, adapted[0].running_mean
        (tensor([0.]), tensor([0.1000]))
    """
    known = imagery_of(model)
    windows = read_windows(
        scenes, known, view=view, tile_px=tile_px, max_windows=max_windows, seed=seed
    )
    return adapt_to_windows(model, windows, method, seed=seed)


def adapt_to_windows(
    model: nn.Module, windows: SceneWindows, method: AdaptationMethod, *, seed: int = 0
) -> Adaptation:
    """Adapt a model to windows, as `adapt_model` does."""
    known = imagery_of(model)
    with evaluating(model):
        gap = measure_gap(model, windows, known)
        adapted = method.adapt(copy.deepcopy(model), windows, seed=seed)
    for name, tensor in adapted.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise ConfigError(
                f'{method.name} made {name} not finite: choose a lower lr, fewer steps, or '
                '--method norms'
            )
    if known.source is not None:  # what the source's features are now, nothing says
        unknown = replace(known, source=replace(known.source, features=()))
        setattr(adapted, 'imagery', unknown)  # noqa: B010  # as torch's types admit tensors only
    change = measure_change(model, adapted, windows)
    return Adaptation(
        adapted.eval(),
        Report(
            method=method.name,
            options=dict(method.options()),
            windows=len(windows),
            classes=_class_names(model, len(change.before.areas)),
            gap=gap,
            change=change,
            advice=advise(gap, change),
        ),
    )


def adapt_file(
    weights: str | Path,
    scenes: Sequence[str | Path],
    output: str | Path,
    method: AdaptationMethod,
    *,
    view: View = View(),
    tile_px: int = 512,
    max_windows: int = 64,
    seed: int = 0,
    device: torch.device | str = 'cpu',
    builders: Sequence[Callable[..., nn.Module]] = (),
) -> Report:
    """Adapt the model of a file, and write another file.

    The new file says how it was made, see `AdaptationRecord`, and remembers the source as the old
    one does, without the features, which are those of the old model. It leaves frozen weights out
    where the old one did, unless they have changed.

    Args:
        weights: File that `save_model` wrote.
        scenes: As of `adapt_model`.
        output: File to write; it appears under its name only when complete.
        method: As of `adapt_model`.
        view: As of `adapt_model`.
        tile_px: As of `adapt_model`.
        max_windows: As of `adapt_model`.
        seed: As of `adapt_model`.
        device: Where the model runs.
        builders: As of `load_model`.

    Raises:
        ConfigError: If the file would be replaced by itself, or as `adapt_model`.
        CrossEarthError: As `load_model` and `adapt_model`.
    """
    if Path(output).resolve() == Path(weights).resolve():
        raise ConfigError(f'{output} is the model itself: choose another name, to compare the two')
    info = read_model_info(weights)
    with Path(weights).open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    model = moved_to(load_model(weights, builders=builders), device)
    made = adapt_model(
        model, scenes, method, view=view, tile_px=tile_px, max_windows=max_windows, seed=seed
    )
    save_model(
        made.model,
        output,
        labels=info.labels,
        bands=info.bands,
        gsd_m=info.gsd_m,
        gsd_range_m=info.gsd_range_m,
        value_range=info.value_range,
        source=imagery_of(made.model).source,
        adaptation=AdaptationRecord(
            method=method.name,
            options={**method.options(), 'tile_px': tile_px, 'seed': seed},
            scenes=tuple(scene.name for scene in made.report.gap.scenes),
            windows=made.report.windows,
            model_sha256=digest,
        ),
        trainable_only=not info.complete and not _frozen_changed(model, made.model),
    )
    return made.report


def _frozen_changed(before: nn.Module, after: nn.Module) -> bool:
    old, new = before.state_dict(), after.state_dict()
    return any(not torch.equal(old[name], new[name]) for name in frozen_names(before))


def _class_names(model: nn.Module, count: int) -> tuple[str, ...]:
    labels = imagery_of(model).labels
    if labels is None:
        return tuple(f'class {index}' for index in range(count))
    return tuple(labels.classes)
