"""The released checkpoints of CrossEarth: a list of them, and where they are looked for."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crossearth.errors import CheckpointError
from crossearth.labels import BUILDING, ISPRS, ROAD, LabelSpace
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from crossearth.models.weights.fitting import fit_weights
from crossearth.models.weights.pretrained import adapt_bands
from crossearth.models.weights.reading import read_entries

__all__ = ['CrossEarth_Weights', 'ReleasedFile', 'load_released']

_HUB = 'https://huggingface.co/Cusyoung/CrossEarth'

_RESCUENET = LabelSpace(
    name='potsdam_rescuenet',
    classes=('impervious_surface', 'building', 'tree', 'car', 'clutter'),
    palette=((255, 255, 255), (0, 0, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)),
)
_CASID = LabelSpace(
    name='casid',
    classes=('background', 'building', 'forest', 'road', 'water'),
    palette=((0, 0, 0), (255, 255, 0), (85, 255, 0), (255, 0, 0), (0, 112, 255)),
)


@dataclass(frozen=True, slots=True)
class ReleasedFile:
    """One published checkpoint.

    Args:
        file: Its name on the hub.
        labels: Classes of its logits.
        bands: Bands of its images, in order.
        img_size: Side in px that it was trained and is tested at.
        settings: Benchmark settings that it is published for.
        backbone: File of the frozen backbone that belongs to it.
    """

    file: str
    labels: LabelSpace
    bands: tuple[str, ...]
    img_size: int
    settings: tuple[str, ...]
    backbone: str

    @property
    def url(self) -> str:
        """Where the file is published."""
        return f'{_HUB}/resolve/main/{self.file}'

    @property
    def meta(self) -> dict[str, Any]:
        """What torchgeo's weights also state: classes, bands, statistics."""
        return {
            'model': 'crossearth_vit_large',
            'labels': self.labels,
            'classes': self.labels.classes,
            'num_classes': self.labels.num_classes,
            'bands': self.bands,
            'in_chans': len(self.bands),
            'mean': IMAGENET_MEAN,
            'std': IMAGENET_STD,
            'img_size': self.img_size,
            'settings': self.settings,
            'publication': 'https://arxiv.org/abs/2410.22629',
            'repo': _HUB,
        }


_RGB, _IRRG = ('red', 'green', 'blue'), ('nir', 'red', 'green')


def _small(file: str, labels: LabelSpace, bands: tuple[str, ...], *settings: str) -> ReleasedFile:
    return ReleasedFile(file, labels, bands, 512, settings, 'dinov2_converted.pth')


def _large(file: str, labels: LabelSpace, *settings: str) -> ReleasedFile:
    return ReleasedFile(file, labels, _RGB, 1024, settings, 'dinov2_converted_1024x1024.pth')


class CrossEarth_Weights(Enum):  # noqa: N801 - torchvision's and torchgeo's style
    """Published weights of CrossEarth with a DINOv2 ViT-L, by source domain.

    They are plain Rein with Mask2Former: no published file holds a geospatial extractor. The files
    are pickles; `crossearth weights convert` turns one into safetensors, with its backbone.

    Example:
        >>> weights = CrossEarth_Weights.POTSDAM_IRRG
        >>> weights.value.file, weights.meta['bands']
        ('Potsdam(i)-source.pth', ('nir', 'red', 'green'))
    """

    POTSDAM_IRRG = _small('Potsdam(i)-source.pth', ISPRS, _IRRG, 'P(i)2V', 'P(i)2P(r)')
    POTSDAM_RGB = _small('Potsdam(r)-source.pth', ISPRS, _RGB, 'P(r)2P(i)', 'P(r)2V')
    VAIHINGEN = _small('Vaihingen-source.pth', ISPRS, _IRRG, 'V2P(i)', 'V2P(r)')
    POTSDAM_IRRG_RESCUENET = _small('Potsdam(i)2RescueNet.pth', _RESCUENET, _IRRG, 'P(i)2Res')
    POTSDAM_RGB_RESCUENET = _small('Potsdam(r)2RescueNet.pth', _RESCUENET, _RGB, 'P(r)2Res')
    WHU_AERIAL = _small('WHU-Building-A2S.pth', BUILDING, _RGB, 'A2S')
    WHU_SATELLITE = _small('WHU-Building-S2A.pth', BUILDING, _RGB, 'S2A')
    DEEPGLOBE = _large('D2M-Rein.pth', ROAD, 'D2M')
    CASID_SUB = _large('casid-sub-source.pth', _CASID, 'Sub2Sub', 'Sub2Tem', 'Sub2Tms', 'Sub2Trf')
    CASID_TEM = _large('casid-tem-source.pth', _CASID, 'Tem2Sub', 'Tem2Tem', 'Tem2Tms', 'Tem2Trf')
    CASID_TMS = _large('casid-tms-source.pth', _CASID, 'Tms2Sub', 'Tms2Tem', 'Tms2Tms', 'Tms2Trf')
    CASID_TRF = _large('casid-trf-source.pth', _CASID, 'Trf2Sub', 'Trf2Tem', 'Trf2Tms', 'Trf2Trf')

    @property
    def url(self) -> str:
        """Where the file is published."""
        return self.value.url

    @property
    def meta(self) -> dict[str, Any]:
        """Classes, bands, mean and std, image size, settings."""
        return self.value.meta

    @property
    def converted(self) -> Path:
        """Path where the converted file is looked for, in torch's folder of checkpoints."""
        name = Path(self.value.file).with_suffix('.safetensors').name
        return Path(torch.hub.get_dir()) / 'checkpoints' / f'crossearth-{name}'


def load_released(model: nn.Module, weights: CrossEarth_Weights | str | Path) -> None:
    """Put converted weights into a model, in place.

    Geospatial parts and a restorer that the file lacks are not changed; an untrained injector has
    no effect. For other numbers of bands than three the patch embedding is repeated, and the model
    keeps its mean and std.

    Args:
        model: Built by `crossearth_vit_large` or one of its family.
        weights: Published weights, or a file that `crossearth weights convert` wrote.

    Raises:
        CheckpointError: If the file does not exist, or does not fit the model.

    Example:
        >>> import tempfile
        >>> from safetensors.torch import save_file
        >>> from crossearth.models import rein_vit_fpn
        >>> small = {'num_classes': 6, 'img_size': 64, 'width': 32}  # so that this takes no time
        >>> converted, model = (rein_vit_fpn('vit_tiny_patch16_224', **small) for _ in range(2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_file(converted.state_dict(), f'{folder}/converted.safetensors')
        ...     load_released(model, f'{folder}/converted.safetensors')
        >>> image = torch.rand(1, 3, 64, 64)
        >>> torch.equal(model.eval()(image), converted.eval()(image))
        True
    """
    path = Path(weights) if not isinstance(weights, CrossEarth_Weights) else weights.converted
    if isinstance(weights, CrossEarth_Weights) and not path.is_file():
        released = weights.value
        raise CheckpointError(
            f'there are no converted weights at {path}: fetch {released.url} and '
            f'{_HUB}/resolve/main/{released.backbone}, then run `crossearth weights convert '
            f'{released.file} --backbone {released.backbone} --output {path}`'
        )
    if path.is_file() and path.suffix != '.safetensors':
        raise CheckpointError(
            f'{path} is not converted: run `crossearth weights convert {path} --backbone …` first, '
            'and pass the file that it writes'
        )
    given, wanted = read_entries(path)[0], model.state_dict()
    stem = 'backbone.vit.patch_embed.proj.weight'
    if stem in given and given[stem].shape[1] != len(wanted['mean']):
        given[stem] = adapt_bands(given[stem], len(wanted['mean']))
        given |= {name: wanted[name] for name in ('mean', 'std')}  # the model's, for its own bands
    own = ('backbone.extractor.', 'backbone.injector.', 'restorer.')
    fit_weights(model, given, source=path, optional=lambda name: name.startswith(own))
