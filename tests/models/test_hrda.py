"""HRDA: contexts and details are fused as the paper's formula has it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import LabelSpace
from crossearth.models.features import Features
from crossearth.models.hrda import HRDA
from crossearth.models.source import FeatureMeter
from crossearth.trainers import FeatureDistance, SourceOnly

ROAD = LabelSpace('road', ('background', 'road'), ((0, 0, 0), (255, 255, 255)))


class Means(nn.Module):
    """Means of 4×4 px, and of larger squares: a backbone whose numbers can be worked out."""

    channels = (3, 3, 3, 3)

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, image):
        return Features(tuple(self.scale * F.avg_pool2d(image, 4 << i) for i in range(4)))


class Finest(nn.Module):
    """The finest map, by a factor, as logits of two classes."""

    num_classes = 2

    def __init__(self, factor=1.0, shift=0.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, features):
        return features.maps[0][:, :2] * self.factor + self.shift


def build(*, attention, detail_px=64, **options):
    """A model whose attention is everywhere this number."""
    level = torch.logit(torch.tensor(attention)).item()
    return HRDA(
        Means(), Finest(), Finest(0.0, level), mean=[0.0] * 3, std=[1.0] * 3, detail_px=detail_px,
        **options,
    ).eval()  # fmt: skip


def at_stride(image, px):
    """Means of squares, enlarged to the image."""
    return F.interpolate(
        F.avg_pool2d(image, px)[:, :2], image.shape[-2:], mode='bilinear', align_corners=False
    )


def test_attention_chooses_between_context_and_detail():
    image = torch.rand(2, 3, 128, 192)
    none, half, all_of_it = (build(attention=a)(image) for a in (0.0, 0.5, 1.0))
    # a context pixel is 2 px wide, so that its logits are means of 8 px
    context = F.interpolate(F.avg_pool2d(image, 8)[:, :2], scale_factor=2, mode='bilinear')
    context = F.interpolate(context, scale_factor=4, mode='bilinear')
    assert torch.allclose(none, context, atol=1e-5)
    assert torch.allclose(all_of_it, at_stride(image, 4), atol=1e-5)
    assert torch.allclose(half, (none + all_of_it) / 2, atol=1e-5)


@pytest.mark.parametrize('size', [(64, 64), (63, 65), (1, 1), (40, 200), (128, 130)])
def test_details_cover_images_of_any_size(size):
    image = torch.rand(1, 3, *size)
    model = build(attention=1.0)
    padded = model._pad(image)
    expected = at_stride(padded, 4)[..., : size[0], : size[1]]
    assert torch.allclose(model(image), expected, atol=1e-5)


def test_details_of_a_row_are_one_pass():
    """An exported model has each pass written out."""
    model = build(attention=0.5)
    seen = []
    model.backbone.register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    model(torch.rand(2, 3, 128, 192))
    assert seen == [(2, 3, 64, 96), *[(2 * 5, 3, 64, 64)] * 3]


def test_the_detail_of_training_lies_where_it_was_cut_out():
    image = torch.rand(1, 3, 128, 128)
    mask = torch.zeros(1, 128, 128, dtype=torch.int64)
    model = build(attention=1.0, detail_weight=0.25)
    generator = torch.Generator().manual_seed(3)
    top, left = (int(torch.randint(9, (), generator=generator)) * 8 for _ in range(2))
    terms = model.losses(image, mask, generator=torch.Generator().manual_seed(3))
    detail = F.avg_pool2d(image, 4)[:, :2]
    inside = torch.zeros(1, 1, 16, 16)
    inside[..., top // 8 : top // 8 + 8, left // 8 : left // 8 + 8] = 1
    large = F.interpolate(inside, scale_factor=2, mode='bilinear')
    context = F.interpolate(
        (1 - inside) * F.avg_pool2d(image, 8)[:, :2], scale_factor=2, mode='bilinear'
    )
    cut = torch.zeros_like(detail)
    rows, cols = slice(top // 4, top // 4 + 16), slice(left // 4, left // 4 + 16)
    cut[..., rows, cols] = detail[..., rows, cols]
    fused = F.interpolate(context + large * cut, scale_factor=4, mode='bilinear')
    expected = 0.75 * F.cross_entropy(fused, mask).item()
    assert terms['loss_ce'].item() == pytest.approx(expected, rel=1e-5)
    own = F.interpolate(detail[..., rows, cols], scale_factor=4, mode='bilinear')
    assert terms['loss_detail'].item() == pytest.approx(
        0.25 * F.cross_entropy(own, mask[..., :64, :64]).item(), rel=1e-5
    )


def test_padding_is_ignored_and_all_parts_learn():
    model = build(attention=0.4)
    mask = torch.randint(0, 2, (2, 100, 90))
    terms = model.losses(torch.rand(2, 3, 100, 90), mask)
    sum(terms.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    nothing = model.losses(torch.rand(1, 3, 70, 70), torch.full((1, 70, 70), 255))
    assert sum(nothing.values()) == 0


def test_features_of_the_context_are_held_near_the_pretrained_ones():
    model = build(attention=0.4)
    method = FeatureDistance(SourceOnly(model, ROAD), weight=1.0, ratio=0.75)
    with torch.no_grad():
        model.backbone.scale.copy_(torch.tensor(2.0))
    image = torch.rand(1, 3, 120, 128)
    mask = torch.zeros(1, 120, 128, dtype=torch.int64)
    terms = method.losses({'image': image, 'mask': mask})
    padded = F.interpolate(model._pad(image), scale_factor=0.5, mode='bilinear')
    moved = F.avg_pool2d(padded, 32).norm(dim=1)  # twice as long as before: they moved by this
    # the lowest row of places is padded by a quarter, which leaves three quarters of the class
    assert terms['loss_fd'].item() == pytest.approx(moved.mean().item(), rel=1e-4)


def test_features_are_measured_on_contexts_which_a_mask_speaks_of():
    model, images = build(attention=0.5), torch.rand(1, 3, 128, 128)
    valid = torch.ones(1, 128, 128, dtype=torch.bool)
    valid[..., :64] = False
    images[..., :64] = 0
    meter = FeatureMeter(model)
    with torch.no_grad(), meter.watching(valid):
        model(images)
    first = meter.statistics()[0]
    context = F.avg_pool2d(images[..., 64:], 8)
    assert first.mean == pytest.approx(context.mean((0, 2, 3)).tolist(), abs=1e-3)


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match='multiple of 32'):
        build(attention=0.5, detail_px=40)
    with pytest.raises(ConfigError, match='weight in'):
        build(attention=0.5, detail_weight=1.0)
    with pytest.raises(ConfigError, match='one value of attention per class'):
        HRDA(Means(), Finest(), nn.Identity(), mean=[0.0], std=[1.0], detail_px=64)
    with pytest.raises(ShapeError, match='does not fit'):
        build(attention=0.5).losses(torch.rand(1, 3, 64, 64), torch.zeros(1, 32, 32).long())
    with pytest.raises(ShapeError, match='no larger than a detail'):
        build(attention=0.5, detail_px=64).losses(
            torch.rand(1, 3, 64, 64), torch.zeros(1, 64, 64).long()
        )
