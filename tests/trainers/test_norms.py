import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from crossearth.errors import ConfigError
from crossearth.trainers.norms import CheckNorms


class Pooled(pl.LightningModule):
    def __init__(self, norm):
        super().__init__()
        self.stem = nn.BatchNorm2d(3)
        self.head = nn.ModuleDict({'pool': nn.Sequential(nn.AdaptiveAvgPool2d(1), norm)})

    def training_step(self, batch, batch_idx):  # noqa: ARG002 -- lightning's signature
        return self.head['pool'](self.stem(batch)).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(model, batch_size):
    loader = DataLoader(list(torch.rand(2, 3, 4, 4)), batch_size=batch_size)
    pl.Trainer(
        accelerator='cpu',
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[CheckNorms()],
    ).fit(model, loader)


def test_a_batch_norm_with_one_value_per_channel_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Pooled(nn.BatchNorm2d(3))
    message = r'head\.pool\.1: BatchNorm2d got one value per channel.*\(1, 3, 1, 1\).*raise'
    with pytest.raises(ConfigError, match=message):
        fit(model, 1)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_group_norm_with_one_value_per_group_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r'head\.pool\.1: GroupNorm got one value per group'):
        fit(Pooled(nn.GroupNorm(3, 3)), 1)


def test_other_norms_and_batches_train_and_keep_no_hook(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for norm, batch_size in ((nn.BatchNorm2d(3), 2), (nn.GroupNorm(1, 3), 1)):
        model = Pooled(norm)
        fit(model, batch_size)
        assert not any(module._forward_pre_hooks for module in model.modules())
