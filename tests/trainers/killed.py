"""Trainings that are killed and resumed, each in a process of its own; a script of the tests.

`python killed.py FOLDER JOBS`: JOBS is a list, as JSON, of arguments of `train`. All processes are
forked from this one, so that the libraries are imported once.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

import kornia.augmentation as K
import lightning.pytorch as pl
import timm
import torch
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.labels import ISPRS
from crossearth.models import CrossEarth, ReinViT
from crossearth.models.adapters import GeospatialSemanticExtractor, Injector, LoRARein
from crossearth.models.decoders import Mask2FormerDecoder, MultiStageASPP
from crossearth.models.decoders.mask_classification import MaskLosses
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from crossearth.trainers import AverageWeights, CrossEarthTraining, TrainingTask
from crossearth.transforms import FourierStyle, PatchMask, PhotometricDistortion, RandomScaleCrop

# ruff: noqa: ARG002 -- lightning's signatures


class Kill(pl.Callback):
    """Ends its own process, with nothing tidied up, in the middle of a step."""

    def __init__(self, step):
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


class KillAnywhere(pl.Callback):
    """Ends its own process some milliseconds after some steps, whatever it does then."""

    def __init__(self, steps, delay_s):
        self.steps = steps
        self.delay_s = delay_s

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.steps -= 1
        if self.steps == 0:
            end = threading.Timer(self.delay_s, os.kill, (os.getpid(), signal.SIGKILL))
            end.daemon = True
            end.start()


class Losses(pl.Callback):
    """Every logged number of every batch, exactly."""

    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        row = {
            name: value.item().hex()
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith('train/')
        }
        row['lr'] = trainer.optimizers[0].param_groups[0]['lr'].hex()
        row['windows'] = batch['transform'][:, [2, 5]].tolist()
        row['at'] = [trainer.current_epoch, batch_idx, trainer.global_step]
        with self.path.open('a') as file:
            file.write(json.dumps(row) + '\n')


def build():
    vit = timm.create_model(
        'vit_tiny_patch16_224',
        img_size=32, patch_size=16, embed_dim=32, depth=4, num_heads=2, num_classes=0,
        dynamic_img_size=True,
    )  # fmt: skip
    encoder = ReinViT(
        vit,
        LoRARein(4, 32, tokens=6, rank=2, query_dim=32),
        extractor=GeospatialSemanticExtractor(widths=(4, 4, 8, 8, 16)),
        injector=Injector(32, query_dim=16, heads=2),
    )
    decoder = Mask2FormerDecoder(
        encoder.channels, 6, dim=32, depth=1, pixel_depth=1, ffn_dim=32, pixel_ffn_dim=32,
        loss=MaskLosses(points=64),
    )  # fmt: skip
    restorer = MultiStageASPP(encoder.channels, width=8)
    return CrossEarth(encoder, decoder, restorer, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def train(
    folder,
    name,
    *,
    every=100,
    kill=None,
    anywhere=None,
    resume=None,
    workers=0,
    accumulate=1,
    epochs=None,
    steps=12,
):
    """One training; its checkpoints and losses lie in `folder/name`."""
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    root = Path(folder)
    target = root / name
    target.mkdir(exist_ok=True)
    if anywhere is not None and not (target / 'last.ckpt').exists():
        resume = None  # killed before there was one
    # A resumed process has drawn other numbers before it resumes.
    pl.seed_everything(0 if resume is None else 99, verbose=False)
    if resume is not None:
        torch.rand(7)
    seeded = lambda seed: torch.Generator().manual_seed(seed)  # noqa: E731
    styles = torch.rand(3, 3, 16, 16, generator=seeded(1))
    torch.manual_seed(5)
    scenes = FolderDataset(root / 'images', root / 'masks', labels=ISPRS)
    data = ShiftDataModule(
        scenes,
        val=scenes,
        size_px=48,
        windows_per_epoch=10,
        batch_size=2,
        num_workers=workers,
        augment=[
            RandomScaleCrop(32, generator=seeded(2)),
            K.RandomHorizontalFlip(),
            PhotometricDistortion(),
        ],
    )
    method = CrossEarthTraining(
        build(),
        ISPRS,
        style=FourierStyle(styles, p=0.5, generator=seeded(3)),
        mask=PatchMask(8, 0.5, prompt=nn.Parameter(torch.zeros(3, 1, 1)), generator=seeded(4)),
    )
    task = TrainingTask(
        method,
        lr=1e-2,
        warmup_steps=3,
        decay_steps=30,
    )
    if resume is not None:
        torch.manual_seed(77)
    trainer = pl.Trainer(
        accelerator='cpu',
        max_steps=-1 if epochs else steps,
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        accumulate_grad_batches=accumulate,
        default_root_dir=target,
        callbacks=[
            AverageWeights(0.9),
            Losses(target / 'losses.jsonl'),
            pl.callbacks.ModelCheckpoint(
                target, filename='last', every_n_train_steps=every, enable_version_counter=False
            ),
            *([] if kill is None else [Kill(kill)]),
            *([] if anywhere is None else [KillAnywhere(*anywhere)]),
        ],
    )
    path = None if resume is None else root / resume / 'last.ckpt'
    trainer.fit(task, datamodule=data, ckpt_path=path, weights_only=True)
    trainer.save_checkpoint(target / 'end.ckpt')


def main():
    folder, jobs = sys.argv[1], json.loads(sys.argv[2])
    context = multiprocessing.get_context('fork')
    codes = []
    for job in jobs:
        process = context.Process(target=train, args=(folder,), kwargs=job)
        process.start()
        process.join()
        codes.append(process.exitcode)
    sys.stdout.write(json.dumps(codes))


if __name__ == '__main__':
    main()
