import timm
import torch
from timm.models.tiny_vit import TinyVit
from torch import nn

from crossearth.models.backbones import FrozenPyramid, TimmPyramid
from crossearth.models.freezing import rest_frozen


def tiny_vit():
    torch.manual_seed(0)
    return TinyVit(
        embed_dims=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2),
        window_sizes=(2, 2, 2, 2), drop_path_rate=0.5,
    )  # fmt: skip


def test_training_mode_changes_nothing():
    """Batch norms keep their averages, and no block is dropped."""
    backbone = FrozenPyramid(tiny_vit())
    x = torch.rand(2, 3, 64, 64)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    expected = backbone.eval()(x).maps
    found = backbone.train()(x).maps
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    assert not any(p.requires_grad for p in backbone.parameters())


def test_it_gives_what_the_pyramid_gives():
    torch.manual_seed(0)
    network = timm.create_model('test_resnet')
    x = torch.rand(1, 3, 64, 32)
    expected = TimmPyramid(network).eval()(x).maps
    assert all(
        torch.equal(a, b) for a, b in zip(FrozenPyramid(network)(x).maps, expected, strict=True)
    )


def test_training_goes_on_after_a_validation_under_inference_mode():
    """timm keeps the attention biases that it looked up then, which autograd refuses to save."""
    backbone = FrozenPyramid(tiny_vit())
    prompt = nn.Parameter(torch.zeros(3, 1, 1))
    x = torch.rand(1, 3, 64, 64)
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    with torch.inference_mode():
        expected = backbone(x).maps[3]
    for module, training in modes.items():  # as lightning does it, without train()
        module.training = training
    rest_frozen(nn.ModuleList([backbone]))
    found = backbone(x + prompt).maps[3]
    found.sum().backward()
    torch.testing.assert_close(found, expected)
    assert prompt.grad.abs().sum() > 0
