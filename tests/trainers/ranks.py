"""Trainings in several processes; a script of the tests.

`python ranks.py FOLDER JOBS`: JOBS is a list, as JSON, of arguments of `train`. All processes are
forked from this one, so that the libraries are imported once.
"""

import json
import multiprocessing
import os
import socket
import sys
import warnings
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule, merge_domains
from crossearth.labels import LabelSpace
from crossearth.models import adapted_fpn, rein_vit_fpn
from crossearth.trainers import (
    SWAD,
    DomainAdversarial,
    FeatureDistance,
    FisherGating,
    SaveModel,
    SelfTraining,
    SourceOnly,
    TrainingTask,
)
from crossearth.transforms import FourierStyle
from tests.trainers.methods.small import plain

THREE = LabelSpace('three', ('a', 'b', 'c'), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


class Losses(pl.Callback):
    """The logged numbers of every step, as the first process has them."""

    def __init__(self, path):
        self.path = path

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002 -- lightning's signature
        if trainer.is_global_zero:
            row = {
                name: value.item()
                for name, value in trainer.callback_metrics.items()
                if name.startswith('train/')
            }
            with self.path.open('a') as file:
                file.write(json.dumps(row) + '\n')


def train(
    folder,
    name,
    *,
    ranks,
    batch,
    steps=6,
    resume=None,
    style=False,
    shard=None,
    features=False,
    adapt=False,
    adapter=None,
):
    """Test, train, test; losses, matrices and weights lie in `folder/name`."""
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    root = Path(folder)
    target = root / name
    target.mkdir(exist_ok=True)
    pl.seed_everything(0, verbose=False)
    scenes = FolderDataset(root / 'images', root / 'masks', labels=THREE)
    if features:
        scenes = merge_domains({'first': scenes, 'second': scenes})
    data = ShiftDataModule(
        scenes,
        val=scenes,
        size_px=24,
        windows_per_epoch=12,
        batch_size=batch,
        unseen={'b': scenes},
        target=scenes if adapt else None,
    )
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.GELU(), nn.Conv2d(8, 3, 1)
    )
    if shard is not None:
        vit = 'test_vit.r160_in1k'
        model = rein_vit_fpn(vit, num_classes=3, img_size=32, tokens=4, rank=2, width=8)
    styles = FourierStyle(torch.rand(3, 3, 8, 8), p=0.5, generator=torch.Generator().manual_seed(1))
    method = SourceOnly(model, THREE, style=styles if style else None)
    if features:
        method = FeatureDistance(SourceOnly(plain().model, THREE), weight=1.0, ratio=0.1)
        method = DomainAdversarial(method, num_domains=2, total_steps=6, width=4)
    if adapt:
        method = SelfTraining(model, THREE, threshold=0.4, decay=0.9)
    if adapter is not None:
        name = 'test_resnet' if adapter in ('lora', 'soma', 'rein', 'frozen') else 'test_vit'
        size = 32 if name == 'test_vit' else None
        model = adapted_fpn(name, adapter, num_classes=3, img_size=size, width=8)
        method = SourceOnly(model, THREE)
        if adapter == 'gate':
            method = FisherGating(method, interval=3, top=4)
    task = TrainingTask(
        method,
        lr=1e-2,
        decay_steps=20,
        shard_frozen=bool(shard),
    )
    trainer = pl.Trainer(
        accelerator='cpu',
        strategy='ddp' if ranks > 1 else 'auto',
        devices=ranks,
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=target,
        callbacks=[
            Losses(target / 'losses.jsonl'),
            *([SWAD(patience=1, tolerance=1)] if features else []),
            Keep(target),
            *([] if shard is None else [SaveModel(target / 'model.safetensors'), Shares(target)]),
        ],
    )
    trainer.test(task, datamodule=data, verbose=False)
    path = None if resume is None else root / resume / 'end.ckpt'
    trainer.fit(task, datamodule=data, ckpt_path=path, weights_only=True)


class Keep(pl.Callback):
    """Writes from within, for what processes know is lost when they end."""

    def __init__(self, target):
        self.target = target

    def on_test_end(self, trainer, pl_module):
        if trainer.is_global_zero:
            torch.save(pl_module.confusion, self.target / 'confusion.pt')

    def on_train_end(self, trainer, pl_module):  # noqa: ARG002 -- lightning's signature
        trainer.save_checkpoint(self.target / 'end.ckpt')


class Shares(pl.Callback):
    """How many weights this process holds between two steps."""

    def __init__(self, target):
        self.target = target

    def on_train_end(self, trainer, pl_module):
        held = [getattr(p, '_local_tensor', p).numel() for p in pl_module.parameters()]
        (self.target / f'held_{trainer.global_rank}.txt').write_text(str(sum(held)))


def launch(folder, job):
    """One job in processes of its own, which find one another as those of a cluster do."""
    context = multiprocessing.get_context('fork')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    processes = [
        context.Process(target=enter, args=(rank, port, folder, job))
        for rank in range(job['ranks'])
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return max((process.exitcode for process in processes), key=abs)


def enter(rank, port, folder, job):
    if job['ranks'] > 1:
        os.environ.update(
            LOCAL_RANK=str(rank),
            MASTER_ADDR='127.0.0.1',
            MASTER_PORT=str(port),
            GLOO_SOCKET_IFNAME='lo',
        )
    train(folder, **job)


def main():
    folder, jobs = sys.argv[1], json.loads(sys.argv[2])
    codes = [launch(folder, job) for job in jobs]
    sys.stdout.write(json.dumps(codes))


if __name__ == '__main__':
    main()
