"""One source domain to train on, many unseen ones to test on."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import kornia.augmentation as K
import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from crossearth.datasets.samplers import GridWindowSampler, RandomWindowSampler
from crossearth.datasets.scene_dataset import SceneDataset
from crossearth.datasets.streams import derived_seed, draws_from
from crossearth.datasets.window_loader import WindowLoader
from crossearth.errors import BandError, ConfigError, LabelError
from crossearth.geometry import Window
from crossearth.labels import IGNORE_INDEX
from crossearth.radiometry import to_unit

__all__ = ['ShiftDataModule']

type Sample = dict[str, Tensor]

_ONE_GSD = 1.05  # scenes of one campaign differ by so much with latitude and height


class ShiftDataModule(pl.LightningDataModule):
    """Batches for domain generalisation: random windows of the source, a test loader a domain.

    On the device, images become float32 in [0, 1], and training batches pass through `augment`.
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
        windows_per_epoch: Training windows an epoch.
        batch_size: Windows a batch and process, for training and testing.
        augment: A module or several, applied in order to training batches, images in [0, 1].
            kornia's augmentations, and containers of them with `data_keys=None`, change image and
            mask together; any other module maps the batch, a dict of `image` (b,c,h,w) and `mask`
            (b,h,w), as `RandomScaleCrop` does.
        value_range: Pixel values of black and white, where they are not those of the type.
        border: How training windows meet borders, see `RandomWindowSampler`.
        pad: Whether scenes smaller than a window are padded, with label 255.
        num_workers: Reading processes a loader.
        seed: Seed of the training windows and of what `augment` draws. Each step of it has its own
            stream of draws, which other steps, the model and the method do not move.

    Raises:
        LabelError: If a dataset has other classes than the source, or no masks.
        BandError: If it has another number of bands.
        ConfigError: If an unseen domain is called `'source'`, batches would be empty, or a
            container in `augment` has other data keys.
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
    ) -> None:
        super().__init__()
        self.train = train
        self.val = val
        self.augment = _chain(augment, seed)
        self.value_range = value_range
        self.size_px = size_px
        self.test_size_px = size_px if test_size_px is None else test_size_px
        self.windows_per_epoch = windows_per_epoch
        self.batch_size = batch_size
        self.border: Literal['pad', 'shift'] = border
        self.pad = pad
        self.num_workers = num_workers
        self.seed = seed
        self._windows: WindowLoader | None = None
        self._resumed = 0  # batches before the checkpoint that is resumed from
        self.tests = _test_domains(val if source_test is None else source_test, unseen or {})
        validation = {} if val is None else {'val': val}
        for name, dataset in {'train': train, **validation, **self.tests}.items():
            _check_like(train, name, dataset)
        if batch_size < 1 or windows_per_epoch < batch_size:
            raise ConfigError(
                f'{windows_per_epoch} windows an epoch make no batch of {batch_size}: expected '
                'windows_per_epoch >= batch_size >= 1'
            )

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the tested domains, in the order of the test loaders."""
        return tuple(self.tests)

    @property
    def augmentations(self) -> list[nn.Module]:
        """Modules that draw at random while training, always in the same order."""
        return [self.augment]

    @property
    def unit_range(self) -> tuple[float, float] | None:
        """Pixel values of the source that become 0 and 1; None for the range of their type."""
        if self.value_range is not None or self.train.dtype != 'unit':
            return self.value_range
        ranges = {scene.raster.value_range for scene in self.train.scenes}
        return ranges.pop() if len(ranges) == 1 else None  # several types, each by its own

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
            self._windows, self._resumed = None, 0

    def state_dict(self) -> dict[str, int]:
        """How many training batches were handed out."""
        return {} if self._windows is None else self._windows.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on with the next training batch."""
        self._resumed = state_dict['batches']

    def train_dataloader(self) -> DataLoader[Sample]:
        """Random windows of the source; the last batch of an epoch is dropped if it is short.

        The n-th batch of a training is always the same: one that resumes from a checkpoint, or
        trains on behind its last step, goes on with the next.
        """
        shard, num_shards = self._shard()
        share = self.windows_per_epoch // num_shards
        if share < self.batch_size:
            raise ConfigError(
                f'{self.windows_per_epoch} windows an epoch are {share} for each of {num_shards} '
                f'processes, no batch of {self.batch_size}: raise windows_per_epoch or lower '
                'batch_size'
            )
        sampler = RandomWindowSampler(
            self.train,
            self.size_px,
            length=self.windows_per_epoch // num_shards * num_shards,
            seed=self.seed,
            border=self.border,
            pad=self.pad,
            shard=shard,
            num_shards=num_shards,
        )
        ongoing = self._windows if self.trainer is not None and self.trainer.training else None
        self._windows = WindowLoader(
            self.train,
            sampler,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            batches=self._resumed if ongoing is None else ongoing.batches,
        )
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
        for step in self.augment:
            batch = step(batch)
        return batch

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


def augment_pair(augment: nn.Module, batch: Sample) -> Sample:
    """Image and mask through a kornia container, with labels that survive it.

    kornia wants masks with a channel, moves them as floats, and fills what a rotation or crop
    uncovers with 0. Shifted by one, the ignored label is that 0, and what is uncovered is ignored.

    Args:
        augment: Container with `data_keys=None`.
        batch: `image` (b,c,h,w) in [0, 1] and `mask` int64 (b,h,w).

    Returns:
        `image` and `mask` of the same types.
    """
    shifted = (batch['mask'] + 1) % (IGNORE_INDEX + 1)
    moved = augment({'image': batch['image'], 'mask': shifted[:, None].to(batch['image'].dtype)})
    labels = moved['mask'][:, 0].round().long()
    return {'image': moved['image'], 'mask': (labels - 1) % (IGNORE_INDEX + 1)}


class _Step(nn.Module):
    """A step of the augmentation, whose draws come from its own stream.

    Args:
        module: An augmentation of kornia, or a module that maps a batch.
        seed: Of the stream.
    """

    def __init__(self, module: nn.Module, seed: int) -> None:
        super().__init__()
        self.module = module
        self.draws = torch.Generator().manual_seed(seed)

    def forward(self, batch: Sample) -> Sample:
        with draws_from(self.draws):
            return _apply(self.module, batch)


def _chain(augment: nn.Module | Sequence[nn.Module] | None, seed: int) -> nn.ModuleList:
    """Steps of the augmentation; augmentations of kornia stand in a container each."""
    if augment is None:
        return nn.ModuleList()
    steps = nn.ModuleList()
    number: Counter[str] = Counter()
    for module in (augment,) if isinstance(augment, nn.Module) else augment:
        step = module
        if isinstance(module, K.AugmentationSequential):
            if module.data_keys is not None:
                raise ConfigError(
                    f'augment holds a container with data_keys={module.data_keys}: expected '
                    'data_keys=None, for images and masks come to it by name'
                )
        elif isinstance(module, K.AugmentationBase2D | K.ImageSequential):
            step = K.AugmentationSequential(module, data_keys=None)
        name = type(module).__qualname__
        number[name] += 1
        steps.append(_Step(step, derived_seed(seed, f'{name}/{number[name]}')))
    return steps


def _apply(step: nn.Module, batch: Sample) -> Sample:
    if isinstance(step, K.AugmentationSequential):
        return {**batch, **augment_pair(step, batch)}
    changed = step(batch)
    if not isinstance(changed, Mapping) or not {'image', 'mask'} <= changed.keys():
        raise ConfigError(
            f'{type(step).__name__} in augment made {type(changed).__name__} of a batch: expected '
            "a dict with 'image' and 'mask', or an augmentation of kornia"
        )
    return dict(changed)


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
