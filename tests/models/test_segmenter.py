import pytest
import torch
from torch import nn

from crossearth.errors import BandError, ConfigError, ShapeError
from crossearth.models import Features, Segmenter, fpn_timm, rein_vit_fpn
from crossearth.models.weights.pretrained import create_timm


class Average(nn.Module):
    """A backbone and decoder whose logits are the image averaged over 4×4 px."""

    channels = (1, 1, 1, 1)

    def forward(self, image):
        return Features(tuple(nn.functional.avg_pool2d(image, s) for s in (4, 8, 16, 32)))


class First(nn.Module):
    num_classes = 2

    def forward(self, features):
        return features.maps[0]


def test_logits_are_where_their_pixels_are():
    """Logits of a ramp are the ramp: no shift from padding, upsampling and cropping."""
    model = Segmenter(Average(), First(), mean=[0.5, 0.5], std=[2.0, 2.0])
    row, col = torch.meshgrid(torch.arange(75.0), torch.arange(100.0), indexing='ij')
    image = torch.stack([row, col])[None] / 100
    expected = (image - 0.5) / 2
    # away from the border, where the average of the replicated pixels bends the ramp
    inside = (..., slice(4, 70), slice(4, 94))
    torch.testing.assert_close(model(image)[inside], expected[inside], rtol=0, atol=1e-6)


class Sums(First):
    returns_sums = True

    def forward(self, features):
        return features.maps[0]


@pytest.mark.parametrize('kind', [torch.float32, torch.bfloat16])
def test_the_softmax_of_sums_of_probabilities_is_their_shares(kind):
    model = Segmenter(Average(), Sums(), mean=[0.0, 0.0], std=[1.0, 1.0])
    sums = torch.tensor([0.9, 0.1]).view(1, 2, 1, 1)  # a softmax of these is 0.69
    with torch.autocast('cpu', torch.bfloat16, enabled=kind == torch.bfloat16):
        shares = model(sums.expand(1, 2, 32, 32).to(kind).float()).softmax(1)
    torch.testing.assert_close(
        shares, sums.to(kind).float().expand(1, 2, 32, 32), rtol=0, atol=4e-3
    )
    nothing = model(torch.zeros(1, 2, 32, 32))
    assert nothing.isfinite().all()
    assert (nothing.softmax(1) == 0.5).all()


def test_normalize_uses_each_bands_statistics():
    model = Segmenter(Average(), First(), mean=[0.1, 0.2], std=[0.5, 0.25])
    image = torch.full((1, 2, 1, 1), 0.6)
    assert model.normalize(image).flatten().tolist() == pytest.approx([1.0, 1.6])


@pytest.mark.parametrize('hw', [(1, 1), (31, 33), (64, 20)])
def test_logits_have_the_size_of_the_image(hw):
    model = fpn_timm('resnet10t', num_classes=3, width=16).eval()
    assert model(torch.rand(2, 3, *hw)).shape == (2, 3, *hw)


def test_other_bands_are_refused_by_number():
    model = fpn_timm('resnet10t', num_classes=3, width=16, in_channels=4)
    with pytest.raises(BandError, match='image has 3 bands, the model takes 4'):
        model(torch.rand(1, 3, 32, 32))


def test_integers_are_refused():
    model = Segmenter(Average(), First(), mean=[0.1, 0.2], std=[0.5, 0.25])
    with pytest.raises(ShapeError, match=r'torch.uint8, expected floats in \[0, 1\]'):
        model(torch.zeros(1, 2, 8, 8, dtype=torch.uint8))


def test_empty_image_is_refused():
    model = Segmenter(Average(), First(), mean=[0.1, 0.2], std=[0.5, 0.25])
    with pytest.raises(ShapeError, match=r'\(1, 2, 0, 8\) is empty'):
        model(torch.zeros(1, 2, 0, 8))
    with pytest.raises(ShapeError, match=r'\(0, 2, 8, 8\) is empty'):
        model(torch.zeros(0, 2, 8, 8))


def test_image_without_a_batch_is_refused(unchecked):
    model = Segmenter(Average(), First(), mean=[0.1, 0.2], std=[0.5, 0.25])
    with pytest.raises(ShapeError, match=r'expected a batch \(b, c, h, w\): pass image\[None\]'):
        model(torch.zeros(2, 8, 8))


@pytest.mark.parametrize('kind', [torch.float64, torch.bfloat16])
def test_images_of_another_precision_are_taken(kind):
    model = fpn_timm('resnet10t', num_classes=3, width=16).eval()
    image = torch.rand(1, 3, 32, 32).bfloat16()  # exact in all three
    torch.testing.assert_close(model(image.to(kind)), model(image.float()))
    assert model.bfloat16()(image.to(kind)).dtype == torch.bfloat16


@pytest.mark.parametrize('shape', [(1, 32, 32), (2, 31, 32)])
def test_mask_of_another_batch_or_size_is_refused(unchecked, shape):
    """One mask for two images would train both on it, silently."""
    model = fpn_timm('resnet10t', num_classes=3, width=16)
    with pytest.raises(ShapeError, match=r'expected \(2, 32, 32\) and torch.int64'):
        model.losses(torch.rand(2, 3, 32, 32), torch.zeros(shape, dtype=torch.long))


def test_mask_of_other_integers_is_refused(unchecked):
    model = fpn_timm('resnet10t', num_classes=3, width=16)
    with pytest.raises(ShapeError, match=r'torch.uint8 does not fit the image'):
        model.losses(torch.rand(1, 3, 32, 32), torch.zeros(1, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize(
    ('mean', 'std'), [([0.5], [1.0, 1.0]), ([], []), ([0.5], [0.0]), ([0.5], [float('nan')])]
)
def test_statistics_that_do_not_fit_are_refused(mean, std):
    with pytest.raises(ConfigError, match='one finite number per band'):
        Segmenter(Average(), First(), mean=mean, std=std)


@pytest.mark.parametrize('name', ['resnet10t', 'mobilenetv3_small_050', 'convnext_atto'])
def test_every_parameter_gets_a_gradient(name):
    """What DistributedDataParallel(find_unused_parameters=False) needs."""
    model = fpn_timm(name, num_classes=2, width=16)
    model(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_every_trainable_parameter_of_a_rein_model_gets_a_gradient():
    model = rein_vit_fpn('vit_tiny_patch16_224', num_classes=2, img_size=32, width=16)
    model(torch.rand(1, 3, 40, 32)).square().mean().backward()
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {n for n, p in model.named_parameters() if p.grad is not None} == trainable


def test_unknown_timm_model_is_named():
    with pytest.raises(ConfigError, match="no model 'resnet1800'"):
        create_timm('resnet1800')


def test_decoder_learns_a_picture_within_a_hundred_steps():
    torch.manual_seed(0)
    model = fpn_timm('resnet10t', num_classes=2, width=16)
    image = torch.rand(1, 3, 64, 64)
    target = torch.zeros(1, 64, 64, dtype=torch.long)
    target[:, :, 32:] = 1
    target[:, 16:32, 16:32] = 1
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(image), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    accuracy = (model(image).argmax(1) == target).float().mean()
    assert accuracy > 0.95


def test_losses_leave_the_padding_out():
    """An image of 40 px is padded to 64: the loss is that of its own pixels."""
    torch.manual_seed(0)
    model = fpn_timm('resnet10t', num_classes=2, width=16).eval()
    image, mask = torch.rand(1, 3, 40, 50), torch.randint(0, 2, (1, 40, 50))
    mask[:, :5] = 255
    expected = nn.functional.cross_entropy(model(image), mask, ignore_index=255)
    torch.testing.assert_close(model.losses(image, mask)['loss_ce'], expected)


def test_nothing_but_ignored_pixels_costs_nothing():
    model = fpn_timm('resnet10t', num_classes=2, width=16)
    mask = torch.full((2, 32, 32), 255)
    assert model.losses(torch.rand(2, 3, 32, 32), mask)['loss_ce'] == 0


def test_parts_that_lack_the_contract_are_told_it(unchecked):
    statistics = {'mean': [0.5], 'std': [0.5]}
    with pytest.raises(ConfigError, match=r'Identity has no num_classes: a decoder is a module'):
        Segmenter(Average(), nn.Identity(), **statistics)
    model = Segmenter(nn.Identity(), First(), **statistics)
    with pytest.raises(
        ConfigError, match='Identity returned Tensor, expected Features: a backbone'
    ):
        model(torch.rand(1, 1, 32, 32))
    model = Segmenter(Average(), First(), **statistics)
    with pytest.raises(
        ConfigError, match='First has no losses: train it with a loss on its logits'
    ):
        model.losses(torch.rand(1, 1, 32, 32), torch.zeros(1, 32, 32, dtype=torch.long))


def test_statistics_of_another_scale_are_refused():
    with pytest.raises(ConfigError, match=r'mean \(123\.7,\) is above 1, but .* by 255'):
        Segmenter(Average(), First(), mean=[123.7], std=[58.4])
