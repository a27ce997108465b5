"""One source domain to train on, many unseen ones to test on."""

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from crossearth.datasets.augmenting import augment_batch, chain_augmentations
from crossearth.datasets.describing import data_module_line, data_module_table
from crossearth.datasets.drawn_pixels import DrawnPixels, Span
from crossearth.datasets.rare_classes import RareClassSampler
from crossearth.datasets.samplers import GridWindowSampler, RandomWindowSampler
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.seen import (
    check_augment_gsd,
    describe_learnt,
    describe_pixels,
    learnt_gsd,
    seen_scenes,
    warn_of_wide_types,
)
from crossearth.datasets.target import PairedLoader, TargetWindows, unlabelled_scenes
from crossearth.datasets.window_loader import WindowLoader
from crossearth.errors import BandError, ConfigError, LabelError
from crossearth.geometry import Window
from crossearth.imagery import Imagery
from crossearth.labels import IGNORE_INDEX
from crossearth.radiometry import to_unit

__all__ = ['ShiftDataModule']

type Sample = dict[str, Tensor]

_TARGET_SEED = 0x7A46E7  # so that windows of the target differ from those of the source


class ShiftDataModule(pl.LightningDataModule):
    """Random windows of a labelled source to train on, and a test loader for each domain.

    On the device, images become float32 in [0, 1], and training batches pass through `augment`.
    With a `target`, each training batch also has windows of its unlabelled images: `target_image`
    (t,c,h,w) in [0, 1], and `target_valid` (t,h,w), true where they hold data. A method that learns
    from them adapts to this place. Its scores are results of *adaptation* and do not belong in a
    table of domain generalisation. `adaptation` and `adapted` state whether this is so.

    With `gsd_m` or `scale`, a pixel size is drawn for each training window, which is read from the
    pixels of its file. The sizes that training sees are written to the model's file (`gsd_m` and
    `gsd_range_m`). Validation and test scenes are seen as `crossearth predict` would show them to
    the model: in their own pixels if training has seen that size, otherwise at the nearest size
    that it has seen. Scenes of unknown size, and datasets that were opened with a
    `gsd_m`, are seen as they are. The log states what each domain is seen at.

    `domains` names the domains in the order of the test loaders: `'source'` first, if it has
    scenes to test on, then the unseen ones. Windows are distributed over the processes without
    repetition, and pixels that two test windows share are scored in the first. Metrics summed over
    the processes thus count each pixel once.

    Args:
        train: Labelled scenes of the source domain.
        unseen: Labelled scenes of each unseen domain, by its name; used for testing only.
        val: Labelled scenes of the source for validation while training.
        source_test: Labelled scenes of the source to test on; None for `val`.
        size_px: Side of the training windows.
        test_size_px: Side of the test windows; None for `size_px`.
        windows_per_epoch: Training windows per epoch.
        batch_size: Windows per batch and process, for training and testing.
        augment: A module or several, applied in order to training batches, images in [0, 1].
            kornia's augmentations, and containers of them with `data_keys=None`, change image and
            mask together. Any other module maps the batch, a dict of `image` (b,c,h,w) and `mask`
            (b,h,w), as `RandomScaleCrop` does.
        value_range: Pixel values of black and white, if they are not those of the type. Scenes of
            16 bits without one, here or in their dataset, get a warning.
        border: How training windows meet borders, see `RandomWindowSampler`.
        pad: Whether scenes smaller than a window are padded, with label 255. Scenes that are tested
            at another size than their own always are.
        gsd_m: Smallest and largest side of the training windows' pixels on the ground, in metres,
            from which each window draws one log-uniformly, or one for all; None for the pixels of
            `train` as they are.
        scale: For scenes of unknown size on the ground: smallest and largest factor of the image's
            size, drawn in the same way. At 3, a window shows its content three times as large as
            the file does, so a third of the ground; at 0.5 half as large.
        test_gsd_m: Side of a pixel, in metres, at which validation and test scenes are seen;
            `'native'` for their own pixels, None for the sizes that the model has learnt.
        num_workers: Worker processes per loader.
        seed: Seed of the training windows and of the draws of `augment` and `target_augment`. Each
            of their steps has its own stream of draws, which is independent of other steps, the
            model and the method.
        target: Unlabelled scenes of the place to map; a mapping names several places. Masks, if
            there are any, are never read for training. Georeferenced scenes are seen at the ground
            sampling distance of the source, unless their dataset was opened with a `gsd_m`. They
            may be tested on, too: see `adapted`.
        target_size_px: Side of the target windows; None for `size_px`.
        target_batch_size: Target windows per batch and process; None for `batch_size`.
        target_augment: Like `augment`, for target windows: a batch of `image` (t,c,h,w) and `valid`
            (t,h,w), without a mask.
        rare_class_temperature: Draw training windows by class, rare ones more often, with this
            temperature (0.01 in DAFormer), see `RareClassSampler`. All masks are then read when
            training begins. None draws every place equally often.

    Raises:
        LabelError: If a dataset has other classes than the source, or no masks.
        BandError: If a dataset has another number of bands than the source.
        ConfigError: If a dataset's `value_range` would not be used, or this one be used a second
            time. If a dataset of `dtype='native'` has scenes of several pixel types. If sizes
            cannot be drawn, because both `gsd_m` and `scale` are given, `train` was opened with a
            `gsd_m`, or a scene has no known size. If `test_gsd_m` is not a size, an unseen domain
            is called `'source'`, batches would be empty, a container in `augment` has other data
            keys, or an argument of the target is given without one.
    """

    # experiments vary the seed themselves; test sets have no effect on training
    no_effect: ClassVar = ('num_workers', 'seed', 'source_test', 'test_size_px', 'unseen')

    # many arguments: datasets, windows and loaders; recipes name them one by one
    def __init__(
        self,
        train: SceneDataset,
        *,
        unseen: Mapping[str, SceneDataset] | None = None,
        val: SceneDataset | None = None,
        source_test: SceneDataset | None = None,
        size_px: int = 512,
        test_size_px: int | None = None,
        windows_per_epoch: int = 1000,
        batch_size: int = 4,
        augment: nn.Module | Sequence[nn.Module] | None = None,
        value_range: tuple[float, float] | None = None,
        border: Literal['pad', 'shift'] = 'shift',
        pad: bool = False,
        gsd_m: float | tuple[float, float] | None = None,
        scale: float | tuple[float, float] | None = None,
        test_gsd_m: float | Literal['native'] | None = None,
        num_workers: int = 0,
        seed: int = 0,
        target: SceneDataset | Mapping[str, SceneDataset] | None = None,
        target_size_px: int | None = None,
        target_batch_size: int | None = None,
        target_augment: nn.Module | Sequence[nn.Module] | None = None,
        rare_class_temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.train = train
        self.val = val
        self.augment = chain_augmentations(augment, seed=seed)
        self.target_augment = chain_augmentations(target_augment, seed=seed ^ _TARGET_SEED)
        self.value_range = value_range
        self.size_px = size_px
        self.test_size_px = size_px if test_size_px is None else test_size_px
        self.windows_per_epoch = windows_per_epoch
        self.batch_size = batch_size
        self.border: Literal['pad', 'shift'] = border
        self.pad = pad
        self.test_gsd_m = _checked_size(test_gsd_m)
        self.num_workers = num_workers
        self.seed = seed
        self.rare_class_temperature = rare_class_temperature
        self.target_size_px = size_px if target_size_px is None else target_size_px
        self.target_batch_size = batch_size if target_batch_size is None else target_batch_size
        self.drawn: dict[str, Span] = {
            name: given for name, given in (('gsd_m', gsd_m), ('scale', scale)) if given is not None
        }
        pixels = DrawnPixels(train, **self.drawn) if self.drawn else None
        self.gsd_m, self.gsd_range_m = learnt_gsd(train, pixels, self.augment, size_px=size_px)
        check_augment_gsd(self.augment, self.gsd_range_m or (self.gsd_m,))
        self._windows: WindowLoader | PairedLoader | None = None
        self._resumed: dict[str, int] = {}  # batches before the checkpoint to resume from
        self.tests = _test_domains(val if source_test is None else source_test, unseen or {})
        validation = {} if val is None else {'val': val}
        for name, dataset in {'train': train, **validation, **self.tests}.items():
            _check_like(train, name, dataset)
            _check_scaled_once(name, dataset, value_range)
            _check_one_type(name, dataset)
            if value_range is None and dataset.dtype != 'float32':
                source = () if dataset is train else train.scenes
                warn_of_wide_types(name, dataset.scenes, source=source)
        if batch_size < 1 or windows_per_epoch < batch_size:
            raise ConfigError(
                f'windows_per_epoch is {windows_per_epoch} and batch_size {batch_size}: expected '
                'windows_per_epoch >= batch_size >= 1'
            )
        given = (target_size_px, target_batch_size, target_augment)
        if target is None and any(argument is not None for argument in given):
            raise ConfigError(
                'target_size_px, target_batch_size or target_augment is given without target: '
                'pass target=dataset, the unlabelled scenes of the place to map'
            )
        if self.target_size_px < 1 or self.target_batch_size < 1:
            raise ConfigError(
                f'target_size_px={target_size_px}, target_batch_size={target_batch_size}: expected '
                'at least 1 pixel and 1 window'
            )
        self.target = None if target is None else self._open_target(target)
        if self.target is not None:
            sizes = [scene.raster.mean_gsd_m() for scene in self.target.scenes]
            check_augment_gsd(self.target_augment, sizes)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({data_module_line(self)})'

    def __str__(self) -> str:  # lightning's opens every loader
        return repr(self)

    def _repr_html_(self) -> str:
        return data_module_table(self)

    @property
    def adaptation(self) -> bool:
        """Whether training sees unlabelled images of a target, so its scores are adaptation."""
        return self.target is not None

    @property
    def adapted(self) -> tuple[str, ...]:
        """Tested domains that have an image file among those of the target."""
        targets = () if self.target is None else self.target.scenes
        seen = {os.path.realpath(scene.image) for scene in targets}
        return tuple(
            name
            for name, dataset in self.tests.items()
            if any(os.path.realpath(scene.image) in seen for scene in dataset.scenes)
        )

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the tested domains, in the order of the test loaders."""
        return tuple(self.tests)

    @property
    def augmentations(self) -> list[nn.Module]:
        """Modules that draw at random during training, always in the same order."""
        return [self.augment, self.target_augment]

    @property
    def unit_range(self) -> tuple[float, float] | None:
        """Pixel values of the source that become 0 and 1; None for the range of their type."""
        if self.value_range is not None or self.train.dtype != 'unit':
            return self.value_range
        ranges = {scene.raster.value_range for scene in self.train.scenes}
        return ranges.pop() if len(ranges) == 1 else None  # each type has its own

    @property
    def bands(self) -> tuple[int, ...] | None:
        """1-based bands of the source's files in the order of its images; None if they differ."""
        bands = {scene.raster.bands for scene in self.train.scenes}
        return bands.pop() if len(bands) == 1 else None

    @property
    def imagery(self) -> Imagery:
        """What a model that is trained on this data knows about pixels."""
        return Imagery(value_range=self.unit_range, gsd_m=self.gsd_m, gsd_range_m=self.gsd_range_m)

    @functools.cached_property
    def seen_val(self) -> SceneDataset | None:
        """The validation scenes as the model sees them, see `test_gsd_m`."""
        if self.val is None:
            return None
        return seen_scenes(self.val, self.imagery, gsd_m=self.test_gsd_m)

    @functools.cached_property
    def seen_tests(self) -> dict[str, SceneDataset]:
        """The tested scenes of each domain as the model sees them, see `test_gsd_m`."""
        return {
            name: seen_scenes(dataset, self.imagery, gsd_m=self.test_gsd_m)
            for name, dataset in self.tests.items()
        }

    def setup(self, stage: str) -> None:
        """Start with the first window of the sequence, unless a checkpoint is loaded next."""
        if stage == 'fit':
            self._windows, self._resumed = None, {}
            _ = self.seen_val  # a scene that cannot be shown is refused before the first step
            rank_zero_info(f'training sees {describe_learnt(self.imagery)}')

    def state_dict(self) -> dict[str, int]:
        """How many training batches were handed out, of the source and of the target."""
        return {} if self._windows is None else self._windows.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue with the next training batch."""
        self._resumed = dict(state_dict)

    def train_dataloader(self) -> WindowLoader | PairedLoader:
        """Random windows of the source; an incomplete batch at the end of an epoch is dropped.

        With a target, each batch also has some of its windows. The n-th batch of a training run is
        always the same. A run that resumes from a checkpoint, or continues after its last step,
        continues with the next batch.
        """
        _, num_shards = self._shard()
        share = self.windows_per_epoch // num_shards
        if share < self.batch_size:
            raise ConfigError(
                f'{self.windows_per_epoch} windows per epoch are {share} for each of {num_shards} '
                f'processes, less than a batch of {self.batch_size}: raise windows_per_epoch or '
                'lower batch_size'
            )
        ongoing = self._windows if self.trainer is not None and self.trainer.training else None
        position = self._resumed if ongoing is None else ongoing.state_dict()
        source = self._random(
            self.train,
            self.train,
            size_px=self.size_px,
            batch_size=self.batch_size,
            length=self.windows_per_epoch // num_shards * num_shards,
            seed=self.seed,
            batches=position.get('batches', 0),
            rare_class_temperature=self.rare_class_temperature,
            drawn=self.drawn,
        )
        self._windows = source
        if self.target is not None:
            target = self._random(
                TargetWindows(self.target, self.target_size_px, border=self.border, pad=self.pad),
                self.target,
                size_px=self.target_size_px,
                batch_size=self.target_batch_size,
                # as many batches as the source has, because the two are read in pairs
                length=len(source) * self.target_batch_size * num_shards,
                seed=self.seed ^ _TARGET_SEED,
                batches=position.get('target_batches', 0),
            )
            self._windows = PairedLoader(source, target)
        return self._windows

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """Every window of the validation scenes; an empty list without them."""
        if self.val is None or self.seen_val is None:
            return []
        rank_zero_info(f'validation is seen at {describe_pixels(self.val, self.seen_val)}')
        return [self._grid(self.val, self.seen_val)]

    def test_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader per domain, in the order of `domains`, over every pixel of its scenes.

        Raises:
            ConfigError: If there is no domain to test.
        """
        if not self.tests:
            raise ConfigError('nothing to test: set unseen={name: dataset}, val or source_test')
        seen = self.seen_tests
        said = (f'{name} at {describe_pixels(self.tests[name], seen[name])}' for name in seen)
        rank_zero_info(f'tests see {"; ".join(said)}')
        return [self._grid(self.tests[name], seen[name]) for name in seen]

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:  # noqa: ARG002  # lightning's signature
        """Images in [0, 1], augmented during training."""
        batch = {**batch, 'image': to_unit(batch['image'], value_range=self.value_range)}
        if self.trainer is None or not self.trainer.training:
            return batch
        target = {
            name: batch.pop(f'target_{name}')
            for name in ('image', 'valid')
            if f'target_{name}' in batch
        }
        batch = augment_batch(self.augment, batch)
        if target:
            target = augment_batch(self.target_augment, target)
        return {**batch, **{f'target_{name}': target[name] for name in target}}

    def _open_target(self, target: SceneDataset | Mapping[str, SceneDataset]) -> SceneDataset:
        return unlabelled_scenes(target, self.train, imagery=self.imagery)

    def _random(
        self,
        dataset: Dataset[Sample],
        scenes: SceneDataset,
        *,
        size_px: int,
        batch_size: int,
        length: int,
        seed: int,
        batches: int,
        rare_class_temperature: float | None = None,
        drawn: Mapping[str, Span] | None = None,
    ) -> WindowLoader:
        shard, num_shards = self._shard()
        draws: Callable[..., RandomWindowSampler] = RandomWindowSampler
        if rare_class_temperature is not None:
            draws = partial(RareClassSampler, temperature=rare_class_temperature)
        sampler = draws(
            scenes,
            size_px,
            length=length,
            seed=seed,
            border=self.border,
            pad=self.pad,
            shard=shard,
            num_shards=num_shards,
            **(drawn or {}),
        )
        return WindowLoader(
            dataset,
            sampler,
            batch_size=batch_size,
            num_workers=self.num_workers,
            batches=batches,
        )

    def _grid(self, dataset: SceneDataset, seen: SceneDataset) -> DataLoader[Sample]:
        shard, num_shards = self._shard()
        # the size of scenes that are resampled automatically is not the user's choice
        pad = self.pad or seen is not dataset
        sampler = GridWindowSampler(
            seen, self.test_size_px, pad=pad, shard=shard, num_shards=num_shards
        )
        return self._loader(_CountedOnce(seen), sampler)

    def _loader(self, dataset: Dataset[Sample], sampler: Sampler[Window]) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # the global one is for training
        )

    def _shard(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size


class _CountedOnce(Dataset[Sample]):
    """Windows of a grid in which pixels that an earlier window contains, too, are ignored.

    The last window of a row or column is moved back to end at the border, where it overlaps the
    one before. The model sees it whole, but each pixel is scored once.
    """

    def __init__(self, dataset: SceneDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, window: Window) -> Sample:
        sample = self.dataset[window]
        # windows start at multiples of their size, except the last ones, moved back by this much
        seen_rows, seen_cols = -window.row % window.height, -window.col % window.width
        mask = sample['mask'].clone()
        mask[:seen_rows] = IGNORE_INDEX
        mask[:, :seen_cols] = IGNORE_INDEX
        return {**sample, 'mask': mask}


def _checked_size(
    test_gsd_m: float | Literal['native'] | None,
) -> float | Literal['native'] | None:
    if test_gsd_m in (None, 'native'):
        return test_gsd_m
    if not isinstance(test_gsd_m, int | float) or not 0 < test_gsd_m < math.inf:
        raise ConfigError(
            f"test_gsd_m is {test_gsd_m!r}: expected metres above 0, 'native', or None"
        )
    return test_gsd_m


def _test_domains(
    source: SceneDataset | None, unseen: Mapping[str, SceneDataset]
) -> dict[str, SceneDataset]:
    if 'source' in unseen:
        raise ConfigError("an unseen domain is called 'source': choose another name for it")
    return {**({} if source is None else {'source': source}), **unseen}


def _check_scaled_once(
    name: str, dataset: SceneDataset, value_range: tuple[float, float] | None
) -> None:
    """Refuse a range of values that would not be used, or used on values in [0, 1]."""
    if dataset.dtype == 'unit':
        if value_range is not None:
            raise ConfigError(
                f"{name}: its dataset has dtype='unit', so its images are in [0, 1] already, and "
                f'value_range={value_range} would scale them again: pass value_range to the '
                'dataset instead'
            )
        return
    stated = {scene.raster.value_range for scene in dataset.scenes} - {None, value_range}
    if stated:
        raise ConfigError(
            f'{name}: its dataset has value_range={stated.pop()}, which it only uses with '
            f"dtype='unit', and has dtype={dataset.dtype!r}: open it with dtype='unit'"
        )


def _check_one_type(name: str, dataset: SceneDataset) -> None:
    """Refuse native pixels of several types: a batch has one, whose range would scale them all."""
    types = sorted({scene.raster.dtype for scene in dataset.scenes})
    if dataset.dtype == 'native' and len(types) > 1:
        raise ConfigError(
            f'{name}: its scenes hold {", ".join(types)} pixels, which make no batch together with '
            "dtype='native': open the dataset with dtype='unit'"
        )


def _check_like(train: SceneDataset, name: str, dataset: SceneDataset) -> None:
    if dataset.labels != train.labels:
        raise LabelError(
            f'{name}: classes are {dataset.labels.classes}, those of the training data '
            f'{train.labels.classes}: map both to one label space'
        )
    if dataset.num_bands != train.num_bands:
        raise BandError(
            f'{name}: has {dataset.num_bands} bands, the training data {train.num_bands}: choose '
            'bands=(...) so that they agree'
        )
    unlabelled = next((scene for scene in dataset.scenes if not scene.labelled), None)
    if unlabelled is not None:
        raise LabelError(f'{name}: {unlabelled.image} has no mask; expected labelled scenes')
