"""Takes a model and scenes, and returns an adapted model and a report."""

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
from crossearth.models.weights.checkpoint import require_model_name
from crossearth.modes import evaluating, moved_to

__all__ = ['Adaptation', 'adapt_file', 'adapt_model']


@dataclass(frozen=True, slots=True)
class Adaptation:
    """An adapted model, and what you should know before you use it.

    Args:
        model: An adapted copy; the original model is not changed.
        report: How far the scenes are from the source, what has changed, and whether the adapted
            model is recommended.
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
    """Adapt a model to the scenes that it will map, without labels.

    Windows are drawn from the scenes as `predict_scene` would show them. So `view` and `tile_px`
    should be those of the map. The same arguments give the same result.

    Args:
        model: Images (b, c, h, w) in [0, 1] → logits (b, k, h, w). A model from `load_model` knows
            its bands, values and ground sampling distance.
        scenes: Paths, or anything that GDAL opens.
        method: `Norms`, `Tent`, `PseudoLabels`, or your own.
        view: How the model sees the scenes.
        tile_px: Side of a window in pixels.
        max_windows: Number of windows from all scenes together.
        seed: Seed for the choice of windows and for the method.

    Returns:
        The adapted model, and a report.

    Raises:
        ConfigError: If the method does not apply to the model, or produces weights that are not
            finite.
        SceneError: If the scenes have no data.
        CrossEarthError: As in `predict_scene`.

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
    # NaN would map every pixel to one class without any error.
    for name, tensor in adapted.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise ConfigError(
                f'{method.name} made {name} not finite: choose a lower lr, fewer steps, or '
                '--method norms'
            )
    if known.source is not None:  # the source's features in the adapted model are unknown
        unknown = replace(known, source=replace(known.source, features=()))
        setattr(adapted, 'imagery', unknown)  # noqa: B010  # torch's types only allow tensors
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
    pretrained: bool | str | Path | None = None,
    builders: Sequence[Callable[..., nn.Module]] = (),
) -> Report:
    """Adapt the model in a file, and write another file.

    The new file records how it was made, see `AdaptationRecord`. It keeps the source statistics of
    the old one, except the features, which belong to the old model. If the old file leaves out
    frozen weights, so does the new one, unless they have changed.

    Args:
        weights: File written by `save_model`.
        scenes: As in `adapt_model`.
        output: File to write; it appears under its name only when it is complete.
        method: As in `adapt_model`.
        view: As in `adapt_model`.
        tile_px: As in `adapt_model`.
        max_windows: As in `adapt_model`.
        seed: As in `adapt_model`.
        device: Device that the model runs on.
        pretrained: As in `load_model`.
        builders: As in `load_model`.

    Raises:
        ConfigError: If `output` is the file of the model itself or does not end in
            `.safetensors`, or as in `adapt_model`.
        CrossEarthError: As in `load_model` and `adapt_model`.
    """
    if Path(output).resolve() == Path(weights).resolve():
        raise ConfigError(
            f'{output} is the model itself: choose another name, so that you can compare the two'
        )
    require_model_name(output)
    info = read_model_info(weights)
    with Path(weights).open('rb') as file:
        digest = hashlib.file_digest(file, 'sha256').hexdigest()
    model = moved_to(load_model(weights, pretrained=pretrained, builders=builders), device)
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
