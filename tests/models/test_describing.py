import dataclasses

import torch
from torch import nn

from crossearth.imagery import Imagery
from crossearth.labels import LabelSpace
from crossearth.models import MixStyle, Segmenter
from crossearth.models.adapters import EarthAdapter, LoRARein, Rein
from crossearth.models.adapters.low_rank import LoRA, SoMA
from crossearth.models.decoders import FPNDecoder, Mask2FormerDecoder, MultiScaleDeformableAttention
from crossearth.models.features import Features


class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1).requires_grad_(False)
        self.channels = (8, 8, 8, 8)

    def forward(self, image):
        return Features(tuple(self.stem(image)[..., :: 2**i, :: 2**i] for i in range(4)))


def small():
    decoder = FPNDecoder((8, 8, 8, 8), 2, width=8)
    return Segmenter(Pyramid(), decoder, mean=[0.5] * 3, std=[0.25] * 3)


def test_a_model_counts_its_bands_classes_and_parameters():
    model = small()
    total = sum(p.numel() for p in model.parameters())
    shown = f'{total / 1000:.3g} k parameters, {(total - 32) / 1000:.3g} k of them trained'
    assert f'Segmenter(\n  3 bands, 2 classes, {shown}\n  (backbone): Pyramid(' in repr(model)
    assert '(decoder): FPNDecoder(\n    num_classes=2' in repr(model)


def test_a_model_is_a_table_with_what_it_knows_of_its_images_in_a_notebook():
    model = small()
    assert '<td' in model._repr_html_()
    assert '2 classes' in model._repr_html_()
    labels = LabelSpace('x', ('<a>', 'b'), ((1, 2, 3), (9, 9, 9)))
    model.imagery = Imagery(labels=labels, bands=('<nir>',), gsd_m=0.3, value_range=(0, 3000))
    shown = model._repr_html_()
    assert 'background:#010203"></span>&lt;a&gt;' in shown
    assert '&lt;nir&gt;' in shown
    assert '<a>' not in shown
    assert '0.3 m' in shown
    assert '0 to 3000' in shown
    model.imagery = dataclasses.replace(model.imagery, gsd_m=None, gsd_range_m=(0.3, 1.25))
    assert '0.3 to 1.25 m' in model._repr_html_()


def test_parts_name_their_sizes():
    assert Rein(3, 16, tokens=5, query_dim=8).extra_repr() == (
        'depth=3, link_queries=True, dim=16, tokens=5'
    )
    assert LoRARein(3, 16, tokens=5, rank=2, query_dim=8).extra_repr() == (
        'depth=3, link_queries=True, dim=16, tokens=5, rank=2'
    )
    assert EarthAdapter(2, 16, width=4).extra_repr() == 'depth=2, cutoff=0.3, dim=16'
    assert LoRA(torch.ones(4, 6), 2, alpha=4).extra_repr() == 'rank=2, scale=2'
    assert SoMA(torch.rand(4, 6), 2).extra_repr() == 'rank=2'
    assert MultiScaleDeformableAttention(8, heads=2, levels=1, points=4).extra_repr() == (
        'heads=2, levels=1, points=4'
    )
    decoder = Mask2FormerDecoder((8, 8, 8, 8), 3, dim=32, depth=1, pixel_depth=1)
    assert decoder.extra_repr() == 'num_classes=3, link_queries=True, dim=32'


def test_mix_style_names_its_arguments():
    assert repr(MixStyle(p=0.25)) == (
        'MixStyle(p=0.25, alpha=0.1, channels_last=False, generator=None)'
    )
