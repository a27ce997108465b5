"""One source domain to train on, many unseen ones to test on."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from crossearth.datasets.augmenting import augment_batch, chain_augmentations
from crossearth.datasets.rare_classes import RareClassSampler
from crossearth.datasets.samplers import GridWindowSampler, RandomWindowSampler
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.target import PairedLoader, TargetWindows, unlabelled_scenes
from crossearth.datasets.window_loader import WindowLoader
from crossearth.errors import BandError, ConfigError, LabelError
from crossearth.geometry import Window
from crossearth.imagery import Imagery
from crossearth.labels import IGNORE_INDEX
from crossearth.radiometry import to_unit

__all__ = ['ShiftDataModule']

type Sample = dict[str, Tensor]

_TARGET_SEED = 0x7A46E7  # windows of the target do not lie where those of the source do
_ONE_GSD = 1.05  # scenes of one campaign differ by so much with latitude and height


class ShiftDataModule(pl.LightningDataModule):
    """Random windows of a labelled source to train on, and a test loader for each domain.

    On the device, images become float32 in [0, 1], and training batches pass through `augment`.
    With a `target`, each training batch also has windows of its unlabelled images: `target_image`
    (t,c,h,w) in [0, 1], and `target_valid` (t,h,w), true where they hold data. A method that learns
    from them adapts to this place: its scores are results of *adaptation*, and do not belong in
    a table of domain generalisation. `adaptation` and `adapted` say so.

    Domains are named in `domains`, in the order of the test loaders: `'source'` first, if it has
    scenes to test on, then the unseen ones. Windows are dealt out to the processes without
    repetition, and pixels that two test windows share are scored in the first: metrics summed over
    the processes count each pixel once.

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
            mask together; any other module maps the batch, a dict of `image` (b,c,h,w) and `mask`
            (b,h,w), as `RandomScaleCrop` does.
        value_range: Pixel values of black and white, where they are not those of the type.
        border: How training windows meet borders, see `RandomWindowSampler`.
        pad: Whether scenes smaller than a window are padded, with label 255.
        num_workers: Reading processes per loader.
        seed: Seed of the training windows and of what `augment` and `target_augment` draw. Each
            step of these has its own stream of draws, which other steps, the model and the method
            do not move.
        target: Unlabelled scenes of the place that is to be mapped; a mapping names several
            places. Masks, if there are any, are never read for training. Scenes that are tied to
            the ground are seen at the ground sampling distance of the source, unless their dataset
            was opened with a `gsd_m`. They may be tested on too: see `adapted`.
        target_size_px: Side of the target windows; None for `size_px`.
        target_batch_size: Target windows per batch and process; None for `batch_size`.
        target_augment: As `augment`, for target windows: a batch of `image` (t,c,h,w) and `valid`
            (t,h,w), without a mask.
        rare_class_temperature: Draw training windows by class, rare ones more often, with this
            temperature (0.01 in DAFormer), see `RareClassSampler`, for which all masks are read
            when training begins; None draws every place alike.

    Raises:
        LabelError: If a dataset has other classes than the source, or no masks.
        BandError: If it has another number of bands.
        ConfigError: If an unseen domain is called `'source'`, batches would be empty, a
            container in `augment` has other data keys, or an argument of the target is given
            without one.
    """

    # the runner of experiments varies the seed; sets to test on are not learnt from
    no_effect: ClassVar = ('num_workers', 'seed', 'source_test', 'test_size_px', 'unseen')

    # many arguments: sets, windows and loaders of a data module; recipes name them one by one
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
        self.num_workers = num_workers
        self.seed = seed
        self.rare_class_temperature = rare_class_temperature
        self.target_size_px = size_px if target_size_px is None else target_size_px
        self.target_batch_size = batch_size if target_batch_size is None else target_batch_size
        self._windows: WindowLoader | PairedLoader | None = None
        self._resumed: dict[str, int] = {}  # batches before the checkpoint that is resumed from
        self.tests = _test_domains(val if source_test is None else source_test, unseen or {})
        validation = {} if val is None else {'val': val}
        for name, dataset in {'train': train, **validation, **self.tests}.items():
            _check_like(train, name, dataset)
        if batch_size < 1 or windows_per_epoch < batch_size:
            raise ConfigError(
                f'{windows_per_epoch} windows an epoch make no batch of {batch_size}: expected '
                'windows_per_epoch >= batch_size >= 1'
            )
        given = (target_size_px, target_batch_size, target_augment)
        if target is None and any(argument is not None for argument in given):
            raise ConfigError(
                'target_size_px, target_batch_size or target_augment is given without target: '
                'pass target=dataset, the unlabelled scenes of the place to be mapped'
            )
        if self.target_size_px < 1 or self.target_batch_size < 1:
            raise ConfigError(
                f'target_size_px={target_size_px}, target_batch_size={target_batch_size}: expected '
                'at least 1 pixel and 1 window'
            )
        self.target = None if target is None else self._open_target(target)

    @property
    def adaptation(self) -> bool:
        """Whether training sees unlabelled images of a target: its scores are of adaptation."""
        return self.target is not None

    @property
    def adapted(self) -> tuple[str, ...]:
        """Tested domains that have an image file among those of the target."""
        seen = set() if self.target is None else {scene.image for scene in self.target.scenes}
        return tuple(
            name
            for name, dataset in self.tests.items()
            if any(scene.image in seen for scene in dataset.scenes)
        )

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the tested domains, in the order of the test loaders."""
        return tuple(self.tests)

    @property
    def augmentations(self) -> list[nn.Module]:
        """Modules that draw at random while training, always in the same order."""
        return [self.augment, self.target_augment]

    @property
    def unit_range(self) -> tuple[float, float] | None:
        """Pixel values of the source that become 0 and 1; None for the range of their type."""
        if self.value_range is not None or self.train.dtype != 'unit':
            return self.value_range
        ranges = {scene.raster.value_range for scene in self.train.scenes}
        return ranges.pop() if len(ranges) == 1 else None  # several types, each by its own

    @property
    def bands(self) -> tuple[int, ...] | None:
        """1-based bands of the source's files in the order of its images; None if they differ."""
        bands = {scene.raster.bands for scene in self.train.scenes}
        return bands.pop() if len(bands) == 1 else None

    @property
    def gsd_m(self) -> float | None:
        """Ground sampling distance that the source is seen at, in metres; None if not known."""
        if self.train.gsd_m is not None:
            return self.train.gsd_m
        known = self.train.gsd_range_m
        return None if known is None else math.sqrt(known[0] * known[1])

    @property
    def gsd_range_m(self) -> tuple[float, float] | None:
        """Finest and coarsest distance of a source that is seen at several; None for one alone."""
        known = None if self.train.gsd_m is not None else self.train.gsd_range_m
        return None if known is None or known[1] <= known[0] * _ONE_GSD else known

    def setup(self, stage: str) -> None:
        """Begin with the first window of the sequence, unless a checkpoint is loaded next."""
        if stage == 'fit':
            self._windows, self._resumed = None, {}

    def state_dict(self) -> dict[str, int]:
        """How many training batches were handed out, of the source and of the target."""
        return {} if self._windows is None else self._windows.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue with the next training batch."""
        self._resumed = dict(state_dict)

    def train_dataloader(self) -> WindowLoader | PairedLoader:
        """Random windows of the source; the last batch of an epoch is dropped if it is short.

        With a target, each batch has some of its windows too. The n-th batch of a training run is
        always the same: one that resumes from a checkpoint, or trains on after its last step,
        continues with the next.
        """
        _, num_shards = self._shard()
        share = self.windows_per_epoch // num_shards
        if share < self.batch_size:
            raise ConfigError(
                f'{self.windows_per_epoch} windows an epoch are {share} for each of {num_shards} '
                f'processes, no batch of {self.batch_size}: raise windows_per_epoch or lower '
                'batch_size'
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
        )
        self._windows = source
        if self.target is not None:
            target = self._random(
                TargetWindows(self.target, self.target_size_px, border=self.border, pad=self.pad),
                self.target,
                size_px=self.target_size_px,
                batch_size=self.target_batch_size,
                length=len(source) * self.target_batch_size * num_shards,
                seed=self.seed ^ _TARGET_SEED,
                batches=position.get('target_batches', 0),
            )
            self._windows = PairedLoader(source, target)
        return self._windows

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        """Every window of the validation scenes; no loader without them."""
        return [] if self.val is None else [self._grid(self.val)]

    def test_dataloader(self) -> list[DataLoader[Sample]]:
        """One loader a domain, in the order of `domains`, over every pixel of its scenes.

        Raises:
            ConfigError: If there is no domain to test.
        """
        if not self.tests:
            raise ConfigError('nothing to test: give unseen={name: dataset}, val or source_test')
        return [self._grid(dataset) for dataset in self.tests.values()]

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:  # noqa: ARG002  # lightning's signature
        """Images in [0, 1], augmented while training."""
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
        seen = Imagery(value_range=self.unit_range, gsd_m=self.gsd_m, gsd_range_m=self.gsd_range_m)
        return unlabelled_scenes(target, self.train, imagery=seen)

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
        )
        return WindowLoader(
            dataset,
            sampler,
            batch_size=batch_size,
            num_workers=self.num_workers,
            batches=batches,
        )

    def _grid(self, dataset: SceneDataset) -> DataLoader[Sample]:
        shard, num_shards = self._shard()
        sampler = GridWindowSampler(
            dataset, self.test_size_px, pad=self.pad, shard=shard, num_shards=num_shards
        )
        return self._loader(_CountedOnce(dataset), sampler)

    def _loader(self, dataset: Dataset[Sample], sampler: Sampler[Window]) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator(),  # the global one belongs to the training
        )

    def _shard(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size


class _CountedOnce(Dataset[Sample]):
    """Windows of a grid, in which pixels that an earlier window has shown too are ignored.

    The last window of a row or column is moved back to end at the border, where it overlaps the
    one before; the model sees it whole, but each pixel is scored once.
    """

    def __init__(self, dataset: SceneDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, window: Window) -> Sample:
        sample = self.dataset[window]
        seen_rows, seen_cols = -window.row % window.height, -window.col % window.width
        mask = sample['mask'].clone()
        mask[:seen_rows] = IGNORE_INDEX
        mask[:, :seen_cols] = IGNORE_INDEX
        return {**sample, 'mask': mask}


def _test_domains(
    source: SceneDataset | None, unseen: Mapping[str, SceneDataset]
) -> dict[str, SceneDataset]:
    if 'source' in unseen:
        raise ConfigError("an unseen domain is called 'source': choose another name for it")
    return {**({} if source is None else {'source': source}), **unseen}


def _check_like(train: SceneDataset, name: str, dataset: SceneDataset) -> None:
    if dataset.labels != train.labels:
        raise LabelError(
            f'{name}: classes are {dataset.labels.classes}, the training data have '
            f'{train.labels.classes}: map both to one label space'
        )
    if dataset.num_bands != train.num_bands:
        raise BandError(
            f'{name}: {dataset.num_bands} bands, the training data have {train.num_bands}: choose '
            'bands=(...) so that they agree'
        )
    unlabelled = next((scene for scene in dataset.scenes if not scene.labelled), None)
    if unlabelled is not None:
        raise LabelError(f'{name}: {unlabelled.image} has no mask; expected labelled scenes')
