"""
Your own training method
========================

A method turns a batch into named loss terms. The engine does the rest: steps, logs, checkpoints and
scores.
"""

# %%
# Two looks, one answer
# ---------------------
# This method asks for the same answer whatever the light: next to the usual loss it compares the
# predictions of a window and of the window in other colours. Parts that draw at random are
# submodules, so that a run that resumes draws what it would have drawn.

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossearth.labels import ISPRS, LabelSpace
from crossearth.trainers import Method
from crossearth.trainers.methods import Batch, segmentation_losses
from crossearth.transforms import PhotometricDistortion


class SameAnswer(Method):
    def __init__(self, model: nn.Module, labels: LabelSpace, *, weight: float = 1.0) -> None:
        super().__init__(model, labels)
        self.weight = weight
        self.colours = PhotometricDistortion(generator=torch.Generator().manual_seed(0))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        other = self.colours(batch['image'])
        terms = segmentation_losses(self.model, other, batch['mask'], self.labels)
        wanted = self.model(batch['image']).softmax(1).detach()
        found = self.model(other).log_softmax(1)
        return terms | {
            'loss_same': self.weight * F.kl_div(found, wanted, reduction='batchmean') / 4096
        }


# %%
# Training with it
# ----------------
# Every term is logged under its name. The callback below only keeps them for the picture.

import tempfile
from pathlib import Path

import lightning.pytorch as pl

from crossearth import FolderDataset, ShiftDataModule, SourceOnly, TrainingTask
from crossearth.models import fpn_timm
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

work = Path(tempfile.mkdtemp())
earth = SyntheticEarth(seed=0)
sets = {}
for name in ('source', 'region_climate'):
    earth.write(work, EARTH_DOMAINS[name], scenes=2, size_px=320)
    folder = work / name / 'train'
    sets[name] = FolderDataset(folder / 'images', folder / 'masks', labels=ISPRS)


class Terms(pl.Callback):
    def __init__(self):
        self.logged = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        for name, value in trainer.callback_metrics.items():
            if name.startswith('train/loss_'):
                self.logged.setdefault(name.removeprefix('train/'), []).append(float(value))


def fit(method):
    data = ShiftDataModule(
        sets['source'],
        source_test=sets['source'],
        unseen={'other climate': sets['region_climate']},
        size_px=64,
        windows_per_epoch=320,
        batch_size=8,
    )
    terms = Terms()
    task = TrainingTask(method, lr=2e-3)
    trainer = pl.Trainer(
        accelerator='cpu',
        max_steps=40,
        callbacks=[terms],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(task, datamodule=data)
    (first, *_) = trainer.test(task, datamodule=data, verbose=False)
    return terms.logged, {name: 100 * first[f'test/{name}/mIoU'] for name in data.domains}


def model():
    torch.manual_seed(0)
    return fpn_timm('mobilenetv3_small_050', num_classes=6, width=32)


logged, with_it = fit(SameAnswer(model(), ISPRS))
_, without = fit(SourceOnly(model(), ISPRS))

# %%
# The terms over the steps, and the scores of both methods. One seed and forty steps decide
# nothing about a method; :doc:`experiments </experiments>` compare methods over seeds, with
# intervals.

import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout='constrained')
for (name, values), style in zip(logged.items(), ('-', '--', ':'), strict=False):
    left.plot(values, style, label=name)
left.set_xlabel('step')
left.set_yscale('log')
left.legend(frameon=False)
for i, (name, scores, hatch) in enumerate(
    (('source only', without, ''), ('same answer', with_it, '//'))
):
    right.bar(
        [x + 0.4 * i for x in range(len(scores))], scores.values(), 0.36, label=name, hatch=hatch
    )
right.set_xticks([0.2, 1.2], without)
right.set_ylabel('mIoU in % (synthetic)')
right.legend(frameon=False)
for axes in (left, right):
    axes.spines[['top', 'right']].set_visible(False)
