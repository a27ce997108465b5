"""Options of a map, as values that are checked once, compared, described and sent to workers.

`predict_scene`, `predict_scenes`, `estimate_scene` and the command line take `Windows`, `View`,
`Outputs`, `Running` and `ModelOutput`. A `MapRequest` holds all of these, together with the
classes.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.inference.grid import Blend, Grid
from crossearth.inference.identity import identity_of
from crossearth.inference.merging import Merge, checked_scales
from crossearth.inference.model_output import ModelOutput
from crossearth.inference.network import Augment, Combine
from crossearth.inference.rendering import Product
from crossearth.inference.scene import OnReadError
from crossearth.inference.writer import BLOCK_PX
from crossearth.labels import LabelSpace
from crossearth.rasters import Alpha, Raster
from crossearth.spelling import check_choice

if TYPE_CHECKING:  # estimators need timm, and mapping does without it
    from crossearth.resolution import GsdEstimate

__all__ = [
    'GsdChoice',
    'GsdEstimator',
    'MapRequest',
    'Outputs',
    'ReturnBy',
    'Running',
    'View',
    'Windows',
]

type ReturnBy = Literal['nearest', 'bilinear']
type GsdChoice = float | int | Literal['native']


@runtime_checkable
class GsdEstimator(Protocol):
    """Estimates the pixel size of a scene without a georeference from its pixels.

    Runs over many scenes send it to the workers, so it must be picklable.
    """

    name: str
    """Identifies the estimator, such as a checksum of its file. With another, maps are redone."""

    def __call__(self, raster: Raster) -> 'GsdEstimate':
        """Estimate the metres on the ground per pixel of the scene."""


@dataclass(frozen=True, slots=True)
class AssumedGsd:
    """The pixel size of those of many scenes that have no georeference.

    Args:
        gsd_m: Metres on the ground per pixel.
    """

    gsd_m: float

    @property
    def name(self) -> str:
        """Identifies the assumption. With another, maps are made again."""
        return f'{self.gsd_m:g} m without a georeference'


_HALF_TYPES = (torch.bfloat16, torch.float16)
# Part of the description: a change of the rule changes pixels, so older maps must be made again.
_RESAMPLING = 'along its own axes where pixels are even'


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows that a scene is cut into, and how their predictions become one map.

    Windows start every `step_px` from the scene's first pixel and are never padded. The last one
    along each axis ends at the border. Along an axis that is shorter than `tile_px`, windows are as
    long as the scene. A model that needs multiples of some number must pad its input itself.

    Args:
        tile_px: Side of a window, in pixels.
        overlap: Share of a window that the next one repeats, from 0 to below 1.
        stride_px: Pixels from one window to the next; takes precedence over `overlap`.
        blend: Weight of a window's pixels where windows overlap, see `window_profile`.
        combine: What is averaged: `'softmax'` probabilities, or `'logits'`.
        augment: `'d4'` averages over the eight flips and quarter turns of every window, at eight
            times the cost.
        scales: Sizes at which the scene is seen, as factors of its sides. 1 is the size that `View`
            sets, and 0.5 has half as many rows and columns. With several scales, the scene is
            predicted at each. The scores (what `combine` averages) are interpolated on the scene's
            own grid and merged. Meanwhile they need 4 bytes per class and pixel of each scale on
            disk.
        merge: How several scales are merged: `'mean'`; `'max'`, which takes the greatest score of
            each class; or `'top2'`, the mean of its two greatest, which needs three
            scales to differ from the mean. The last two rescale probabilities to sum to 1.
        merge_class: Name of a class, for `'max'` and `'top2'`: a pixel takes all scores from the
            scale, or the mean of the two scales, that give this class the greatest probability.

    Raises:
        ConfigError: If a value is out of range, or the stride would leave gaps.

    Example:
        >>> Windows().step_px, Windows(tile_px=256, overlap=0.5).step_px
        (341, 128)
    """

    tile_px: int = 512
    overlap: float | int = 1 / 3
    stride_px: int | None = None
    blend: Blend = 'hann'
    combine: Combine = 'softmax'
    augment: Augment = 'none'
    scales: Sequence[float | int] = (1,)
    merge: Merge = 'mean'
    merge_class: str | None = None

    def __post_init__(self) -> None:
        _check_at_least_one('tile_px', self.tile_px)
        if not 0 <= self.overlap < 1:
            raise ConfigError(
                f'overlap is {self.overlap}: expected a share of the window, from 0 to below 1; '
                'for pixels, pass stride_px'
            )
        if not 1 <= self.step_px <= self.tile_px:
            raise ConfigError(
                f'stride_px is {self.stride_px}: expected 1 to tile_px, which is {self.tile_px}, '
                'because a longer stride would leave gaps'
            )
        check_choice('blend', self.blend, get_args(Blend.__value__))
        check_choice('combine', self.combine, get_args(Combine.__value__))
        check_choice('augment', self.augment, get_args(Augment.__value__))
        object.__setattr__(self, 'scales', checked_scales(self.scales))
        check_choice('merge', self.merge, get_args(Merge.__value__))
        if self.merge_class is not None and self.merge == 'mean':
            raise ConfigError(
                f'merge_class is {self.merge_class!r}, but merge is {self.merge!r}: pass '
                "merge='top2' or 'max', which choose scales by this class, or leave merge_class out"
            )

    @property
    def step_px(self) -> int:
        """Pixels from one window to the next, from `stride_px` or `overlap`."""
        if self.stride_px is not None:
            return self.stride_px
        return max(round(self.tile_px * (1 - self.overlap)), 1)

    def grid(self, height: int, width: int) -> Grid:
        """The windows of a scene with that many rows and columns."""
        return Grid(height, width, tile_px=self.tile_px, stride_px=self.step_px, blend=self.blend)

    def describe(self) -> dict[str, Any]:
        """Everything here that the pixels of a map depend on, by name, as JSON values."""
        return {
            'tile_px': self.tile_px,
            'stride_px': self.step_px,
            'blend': self.blend,
            'combine': self.combine,
            'augment': self.augment,
            'scales': list(self.scales),
            'merge': self.merge,
            'merge_class': self.merge_class,
        }


@dataclass(frozen=True, slots=True)
class View:
    """How a model sees a scene: which bands, which values, at which ground sampling distance.

    Args:
        bands: Bands that the model takes, as numbers from 1 or as names, which are the descriptions
            or colours of the scene's bands. If no band of the scene has such a name but their
            number is right, all bands are taken in order. None for the bands in the model's file,
            or else all but an alpha band.
        alpha: What a band marked as alpha means; GDAL marks the fourth band of any plain 8-bit
            file. `'mask'`: it shows where there are data. `'image'`: it is image data like the
            others, such as near infrared. `'auto'`: decide by its values.
        value_range: Values of the scene that become 0 and 1; values outside are clipped. None for
            the range in the model's file, or else the rule of training: integers are divided by the
            largest value of their type (255, 65535, 32767), negative ones become 0, and floats must
            lie in [0, 1].
        gsd_m: Ground sampling distance at which the model sees the scene, in metres, normally that
            of training. The scene is resampled to square pixels of that size while it is read:
            along its own axes if its pixels have the same size on the ground everywhere, otherwise
            in a local projection (see `crossearth.rasters.resampled`). The map is brought back to
            the scene's own grid. A scene within 2 % of this distance along both axes is mapped on
            its own grid, and so is any scene with `'native'`. None for the distance in the model's
            file: for a model trained across a range, the scene's own if it lies in the range,
            otherwise its middle in octaves. If the file has none, the scene's own pixels are used.
        scene_gsd_m: Ground sampling distance of the scene's own pixels, in metres, for scenes
            without a georeference, or whose georeference has a wrong pixel size. Such a scene is
            resampled along its own axes. A `GsdEstimator` is only used for scenes without a
            georeference, and so is a distance if there are many scenes. None for the distance in
            the georeference.
        return_by: How the map returns to the scene's grid. `'nearest'` gives a pixel the label of
            the nearest pixel that the model saw. `'bilinear'` interpolates the averaged scores
            (probabilities or logits, see `combine`) and then chooses the class. Meanwhile it needs
            4 bytes per class and pixel of the model's grid on disk.
        mean: For a model that does not normalise images itself: value to subtract from each band,
            in the order of the bands, in units of the image, which lies in [0, 1].
        std: Value by which each band is divided after that, in the same units. For example,
            `1 / 255` turns 0 to 1 into 0 to 255.

    Raises:
        ConfigError: If a value is out of range or not one of the choices, or `bands` is a string.
    """

    bands: Sequence[int] | Sequence[str] | None = None
    alpha: Alpha = 'auto'
    value_range: tuple[float | int, float | int] | None = None
    gsd_m: GsdChoice | None = None
    scene_gsd_m: float | int | GsdEstimator | AssumedGsd | None = None
    return_by: ReturnBy = 'nearest'
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.bands, str):
            raise ConfigError(f'bands is {self.bands!r}: expected a sequence, ({self.bands!r},)')
        if self.bands is not None:
            object.__setattr__(self, 'bands', tuple(self.bands))
            if not self.bands:
                raise ConfigError('bands is (): expected at least one, or None')
        if self.value_range is not None:
            low, high = map(float, self.value_range)
            object.__setattr__(self, 'value_range', (low, high))
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ConfigError(
                    f'value_range is {self.value_range}: expected finite values, the lower first'
                )
        if isinstance(self.gsd_m, str):
            if self.gsd_m != 'native':
                raise ConfigError(f"gsd_m is {self.gsd_m!r}: expected metres, or 'native'")
        elif self.gsd_m is not None and not (math.isfinite(self.gsd_m) and self.gsd_m > 0):
            raise ConfigError(f'gsd_m is {self.gsd_m}: expected metres above 0')
        own_m = self.scene_gsd_m
        if isinstance(own_m, int | float) and not (math.isfinite(own_m) and own_m > 0):
            raise ConfigError(f'scene_gsd_m is {own_m}: expected metres above 0')
        if own_m is not None and not isinstance(own_m, int | float | GsdEstimator | AssumedGsd):
            raise ConfigError(f'scene_gsd_m is {own_m!r}: expected metres, or a GsdEstimator')
        check_choice('alpha', self.alpha, get_args(Alpha))
        check_choice('return_by', self.return_by, get_args(ReturnBy.__value__))
        for name in ('mean', 'std'):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, _band_values(name, values))

    def for_many(self) -> 'View':
        """The view of many scenes: a stated pixel size is that of those without a georeference."""
        own_m = self.scene_gsd_m
        if not isinstance(own_m, int | float):
            return self
        return replace(self, scene_gsd_m=AssumedGsd(own_m))

    def describe(self) -> dict[str, Any]:
        """Everything here that the pixels of a map depend on, by name, as JSON values."""
        own_m = self.scene_gsd_m
        rule: dict[str, Any] = {} if self.gsd_m == 'native' else {'resampling': _RESAMPLING}
        return rule | {
            'bands': None if self.bands is None else list(self.bands),
            'alpha': self.alpha,
            'value_range': None if self.value_range is None else list(self.value_range),
            'gsd_m': self.gsd_m,
            'scene_gsd_m': own_m if isinstance(own_m, int | float | None) else own_m.name,
            'return_by': self.return_by,
            'mean': None if self.mean is None else list(self.mean),
            'std': None if self.std is None else list(self.std),
        }


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written: the map, and further rasters next to it.

    For many scenes, `probabilities`, `confidence` and `entropy` name folders, whose files get the
    names of the maps.

    Args:
        nodata: Label of pixels without data. These are pixels where all bands hold the scene's
            nodata value, a mask or an alpha band excludes them, or a band is not finite. Models see
            0 there.
        probabilities: GeoTIFF to write with the probability of each class, one byte band per class:
            254 means 1 (the scale stored in the file), 255 means no data.
        confidence: GeoTIFF to write with the probability of the chosen class.
        entropy: GeoTIFF to write with the entropy, from 0 where the model is sure of one class to
            254 where all classes are equally likely.
        cog: Whether files are made cloud-optimised, with overviews.
        qgis_style: Whether a map whose classes have names gets the files from which QGIS reads
            names and colours: a `.qml`, and a raster attribute table in `….aux.xml`. They make a
            class named background transparent.
        class_thresholds: Probability that a class needs to be chosen, by its name or id, such as
            `{'road': 0.7}`. Pixels below it go to the most likely of the other classes. In a map of
            two classes, a single threshold decides alone: the class is chosen exactly where its
            probability is at least the threshold.
        estimate_accuracy: Whether to estimate the accuracy of the map from the model's confidence
            while it is made. This needs a model file with a calibration.

    Raises:
        ConfigError: If nodata does not fit in 16 bits, or a threshold is not between 0 and 1.
    """

    nodata: int = 255
    probabilities: str | Path | None = None
    confidence: str | Path | None = None
    entropy: str | Path | None = None
    cog: bool = False
    qgis_style: bool = True
    estimate_accuracy: bool = False
    class_thresholds: Mapping[str | int, float] | Sequence[tuple[str | int, float]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, 'class_thresholds', self.thresholds)
        for name, threshold in self.thresholds:
            if not 0 < threshold < 1:
                raise ConfigError(
                    f'threshold of class {name!r} is {threshold}: expected a number between 0 and 1'
                )
        if not 0 <= self.nodata <= 65535:
            raise ConfigError(f'nodata is {self.nodata}: expected 0 to 65535')

    @property
    def thresholds(self) -> tuple[tuple[str | int, float], ...]:
        """Pairs of a class and its threshold."""
        given = self.class_thresholds
        return tuple(given.items() if isinstance(given, Mapping) else given)

    @property
    def further(self) -> dict[Product, Path]:
        """Requested rasters other than the map, and where they go."""
        asked: dict[Product, str | Path | None] = {
            'probabilities': self.probabilities,
            'confidence': self.confidence,
            'entropy': self.entropy,
        }
        return {product: Path(path) for product, path in asked.items() if path is not None}

    def named(self, name: str) -> 'Outputs':
        """The outputs of one map among many: further rasters go into the requested folders.

        Args:
            name: Path of the map in the folder of all maps.
        """
        inside: dict[str, Any] = {product: path / name for product, path in self.further.items()}
        return replace(self, **inside)

    def describe(self) -> dict[str, Any]:
        """Everything that the files depend on, by name, as JSON values, except where they go."""
        return {
            'nodata': self.nodata,
            'further': list(self.further),
            'cog': self.cog,
            'qgis_style': self.qgis_style,
        }


@dataclass(frozen=True, slots=True)
class Running:
    """How mapping runs: on which device, within which memory, and how it survives interruptions.

    Args:
        batch_size: Windows in a batch. None for 1 on the CPU, where the memory of larger batches is
            allocated again every time and makes them slower, and 4 elsewhere.
        device: Where windows are sent; None for the device of the model.
        autocast: Half type that the model computes in, `torch.bfloat16` or `torch.float16`.
            Windows are summed in float32 either way.
        memory_mb: Memory in MiB for everything but the model. A scene that is too wide is mapped
            in full-height parts, with the same result. None for 208, or for what parts of 2048 px
            take if that is more.
        on_read_error: What to do with a block that cannot be read: `'raise'` an error, or map it as
            `'nodata'` and list it in the result.
        resume: Whether finished parts are kept next to the map, in a folder `….parts`, until the
            map is complete. If the run is killed, the same call resumes with the missing parts.
        shard: `(i, n)` makes every n-th part, from the i-th, counted from 1, and no map. It is for
            machines that share a file system. When all have ended, the same call with
            `resume=True` and without `shard` assembles the map. For many scenes, it maps every n-th
            scene.
        shard_px: Side of the parts that are kept, a multiple of 512.

    Raises:
        ConfigError: If a value is out of range, or torch does not know the device.
    """

    batch_size: int | None = None
    device: torch.device | str | None = None
    autocast: torch.dtype | None = None
    memory_mb: int | None = None
    on_read_error: OnReadError = 'raise'
    resume: bool = False
    shard: tuple[int, int] | None = None
    shard_px: int = 8192

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            _check_at_least_one('batch_size', self.batch_size)
        if self.memory_mb is not None:
            _check_at_least_one('memory_mb', self.memory_mb)
        if self.autocast is not None and self.autocast not in _HALF_TYPES:
            raise ConfigError(
                f'autocast is {self.autocast}: expected torch.bfloat16 or torch.float16'
            )
        if self.device is not None:
            try:
                object.__setattr__(self, 'device', torch.device(self.device))
            except RuntimeError as error:
                raise ConfigError(
                    f"device is {self.device!r}: expected a torch device, such as 'cuda:0'"
                ) from error
        check_choice('on_read_error', self.on_read_error, get_args(OnReadError.__value__))
        if self.shard is not None:
            if len(self.shard) != 2 or not 1 <= self.shard[0] <= self.shard[1]:
                raise ConfigError(
                    f'shard is {self.shard}: expected (i, n), the i-th of n, counted from 1'
                )
            object.__setattr__(self, 'shard', tuple(self.shard))
        if self.shard_px < BLOCK_PX or self.shard_px % BLOCK_PX:
            raise ConfigError(
                f'shard_px is {self.shard_px}: expected a multiple of {BLOCK_PX}, because parts '
                'are cut between blocks of the file'
            )

    @property
    def keeps_parts(self) -> bool:
        """Whether finished parts outlive the call."""
        return self.resume or self.shard is not None

    def share_of[T](self, items: Sequence[T]) -> list[T]:
        """The items that this shard has to process; all of them without a shard.

        Example:
            >>> Running(shard=(2, 3)).share_of('abcdefg')
            ['b', 'e']
        """
        first, step = (1, 1) if self.shard is None else self.shard
        return list(items[first - 1 :: step])

    def describe(self) -> dict[str, Any]:
        """Everything here that the pixels of a map depend on, by name, as JSON values.

        Memory and parts do not change the bytes of a map, so they are not included.
        """
        device = None if self.device is None else torch.device(self.device).type
        return {
            'batch_size': self.batch_size,
            'device': device,
            'autocast': None if self.autocast is None else str(self.autocast),
            'on_read_error': self.on_read_error,
        }


@dataclass(frozen=True, slots=True)
class MapRequest:
    """Everything that defines a map, except the model, the scene and where the map goes.

    Args:
        labels: Class names and colours; None for those of the model's file, if it has any.
        windows: Windows and how they are blended.
        view: How the model views the scene.
        outputs: What is written.
        running: How it runs.
        model_output: What the model returns.
        model_id: Identifies the model; None for a digest of it, see `identity_of`.

    Raises:
        ConfigError: If a value has the wrong type, or `model_id` is empty.
    """

    labels: LabelSpace | None = None
    windows: Windows = field(default_factory=Windows)
    view: View = field(default_factory=View)
    outputs: Outputs = field(default_factory=Outputs)
    running: Running = field(default_factory=Running)
    model_output: ModelOutput = field(default_factory=ModelOutput)
    model_id: str | None = None

    def __post_init__(self) -> None:
        kinds: dict[str, type] = {
            'windows': Windows,
            'view': View,
            'outputs': Outputs,
            'running': Running,
            'model_output': ModelOutput,
        }
        if self.labels is not None:
            kinds['labels'] = LabelSpace
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise ConfigError(f'{name} is {value!r}: expected a {kind.__name__}')
        if self.model_id is not None and not self.model_id.strip():
            raise ConfigError(
                f'model_id is {self.model_id!r}, which does not identify a model: pass the name of '
                'its version, or leave it out for a digest of the model'
            )

    def model_id_of(self, model: nn.Module | Callable[[Tensor], Tensor]) -> str:
        """The identity of the model: the given name, or a digest of the model.

        Raises:
            ConfigError: If no name was given and the model is not a module.
        """
        return identity_of(model) if self.model_id is None else self.model_id

    def describe_pixels(self) -> dict[str, Any]:
        """Everything that classes and scores depend on, except the scene and the model."""
        return (
            self.windows.describe()
            | self.view.describe()
            | self.running.describe()
            | self.model_output.describe()
            | {'class_thresholds': [list(pair) for pair in self.outputs.thresholds]}
        )

    def digest(self) -> str:
        """A digest of everything that the files of a map depend on, for receipts.

        Example:
            >>> MapRequest().digest() == MapRequest(running=Running(memory_mb=99)).digest()
            True
            >>> MapRequest().digest() == MapRequest(windows=Windows(tile_px=64)).digest()
            False
        """
        labels = self.labels
        described = self.describe_pixels() | self.outputs.describe()
        if labels is not None:
            described['labels'] = [labels.name, labels.classes, labels.palette]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _check_at_least_one(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f'{name} is {value!r}: expected a whole number')
    if int(value) < 1:
        raise ConfigError(f'{name} is {value}: expected at least 1')


def _band_values(name: str, values: Sequence[float]) -> tuple[float, ...]:
    """Means or standard deviations of bands, in units of an image in [0, 1]."""
    given = tuple(float(value) for value in values)
    # the smallest number above 0, because bands are divided by it
    least = 0.0 if name == 'mean' else math.ulp(0.0)
    if not given or not all(least <= value <= 1 for value in given):
        expected = 'from 0' if name == 'mean' else 'above 0 and up'
        raise ConfigError(
            f'{name} is {given}: expected one number per band, {expected} to 1, since images are '
            'in [0, 1]: divide values for bytes by 255, others by the width of value_range'
        )
    return given
