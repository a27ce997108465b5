"""Every archive of the benchmark below one folder, in its true layout, with tiny files."""

import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import rasterio
import timm
import torch
from rasterio.errors import NotGeoreferencedWarning

from crossearth.models.style import GhiasiTransformer, StylePredictor
from crossearth.transforms import EarthStyle
from crossearth.transforms.earth_style import module_fingerprint
from tests.datasets import archive_trees


def every_archive(root: Path) -> Path:
    """One folder for each archive, named as the domains name them; images of 80 px."""
    archive_trees.potsdam(root / 'potsdam', ['2_10', '2_13'], kinds=('RGB', 'IRRG'))
    archive_trees.vaihingen(root / 'vaihingen', [1, 2])
    archive_trees.loveda(root / 'loveda')
    archive_trees.deepglobe(root / 'deepglobe')
    archive_trees.massachusetts(root / 'massachusetts')
    archive_trees.rescuenet(root / 'rescuenet')
    archive_trees.whu_aerial(root / 'whu_aerial')
    archive_trees.whu_satellite(root / 'whu_satellite')
    climates = ('subms', 'temms', 'troms', 'trorf')
    archive_trees.casid(root / 'casid', 'colour', climates=climates)
    for path in sorted(root.rglob('*')):
        if path.suffix in {'.tif', '.tiff', '.png', '.jpg'}:
            enlarge(path, 5)
    return root


def enlarge(path: Path, factor: int) -> None:
    """The same picture with each pixel made a square."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            pixels = file.read()
    sidecar = path.with_suffix('.tfw')
    place = sidecar.read_text() if sidecar.exists() else None
    archive_trees.put(path, pixels.repeat(factor, axis=1).repeat(factor, axis=2))
    if place is not None:  # GDAL removes it with the file that it replaces
        sidecar.write_text(place)


def style_files(folder: Path) -> dict[str, str]:
    """Random style networks of full width, and a distribution of styles that fits them."""
    torch.manual_seed(0)
    networks = {'predictor': StylePredictor(), 'transformer': GhiasiTransformer()}
    for name, network in networks.items():
        torch.save(network.state_dict(), folder / f'{name}.pth')
    predictor = networks['predictor']
    named = f'StylePredictor:{module_fingerprint(predictor)}'
    EarthStyle(torch.zeros(100), torch.eye(100), {'predictor': named}).save(folder / 'style.st')
    return {
        'style': str(folder / 'style.st'),
        **{name: str(folder / f'{name}.pth') for name in networks},
    }


def tiny_transformer(name: str, *, img_size: int, in_channels: int, pretrained: bool) -> Any:
    """In place of DINOv2's ViT-L: 4 blocks of width 32, the same patches of 16 px."""
    return timm.create_model(
        'vit_tiny_patch16_224',
        img_size=img_size,
        in_chans=in_channels,
        depth=4,
        embed_dim=32,
        num_heads=2,
        num_classes=0,
        dynamic_img_size=True,
    )


class StopAt(pl.Callback):
    """Fails before a step, as long as a file is there."""

    def __init__(self, step: int, file: str) -> None:
        self.step = step
        self.file = file

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == self.step and Path(self.file).exists():
            raise RuntimeError('power cut')
