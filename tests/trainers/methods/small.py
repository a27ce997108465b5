"""A segmentation model of a few hundred weights, trained by the source alone."""

import torch
import torch.nn.functional as F
from torch import nn

from crossearth.labels import LabelSpace
from crossearth.models import Features, Segmenter
from crossearth.models.decoders import FPNDecoder
from crossearth.trainers import SourceOnly

THREE = LabelSpace('three', ('ground', 'house', 'tree'), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))


class SmallBackbone(nn.Module):
    channels = (4, 4, 4, 4)

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)

    def forward(self, image):
        values = self.stem(image)
        c4, c8, c16, c32 = (F.avg_pool2d(values, s) for s in (4, 8, 16, 32))
        return Features((c4, c8, c16, c32))


def plain(seed: int = 0) -> SourceOnly:
    torch.manual_seed(seed)
    backbone = SmallBackbone()
    decoder = FPNDecoder(backbone.channels, 3, width=4)
    model = Segmenter(backbone, decoder, mean=(0.5,) * 3, std=(0.25,) * 3)
    return SourceOnly(model, THREE)


def make_batch(images: int = 4, side: int = 64, *, domains: int = 2) -> dict[str, torch.Tensor]:
    mask = torch.randint(0, 3, (images, side // 16, side // 16))
    mask = mask.repeat_interleave(16, 1).repeat_interleave(16, 2)
    mask[:, :3] = 255
    return {
        'image': torch.rand(images, 3, side, side),
        'mask': mask,
        'domain': torch.arange(images) % domains,
    }
