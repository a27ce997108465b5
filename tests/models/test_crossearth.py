import copy

import pytest
import timm
import torch

from crossearth.errors import ConfigError
from crossearth.models import (
    CrossEarth,
    ReinViT,
)
from crossearth.models.adapters import GeospatialSemanticExtractor, Injector, LoRARein
from crossearth.models.decoders import Mask2FormerDecoder, MaskLosses, MultiStageASPP


def tiny(*, in_channels=3):
    torch.manual_seed(0)
    vit = timm.create_model(
        'vit_small_patch14_dinov2',
        img_size=64, patch_size=16, embed_dim=32, depth=4, num_heads=2, num_classes=0,
        dynamic_img_size=True, in_chans=in_channels,
    )  # fmt: skip
    encoder = ReinViT(
        vit,
        LoRARein(4, 32, tokens=6, rank=2, query_dim=32),
        extractor=GeospatialSemanticExtractor(in_channels, widths=(8, 8, 8, 8, 16)),
        injector=Injector(32, query_dim=16, heads=2),
    )
    decoder = Mask2FormerDecoder(
        encoder.channels, 3, dim=32, depth=2, pixel_depth=1, ffn_dim=32, pixel_ffn_dim=32,
        loss=MaskLosses(points=64),
    )  # fmt: skip
    restorer = MultiStageASPP(encoder.channels, in_channels, width=8)
    statistics = [0.5] * in_channels
    return CrossEarth(encoder, decoder, restorer, mean=statistics, std=statistics)


def test_both_flows_train_every_parameter_and_leave_the_transformer_alone():
    model = tiny().train()
    before = copy.deepcopy(model.backbone.vit.state_dict())
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=0.01)
    image, mask = torch.rand(2, 3, 50, 64), torch.randint(0, 3, (2, 50, 64))
    for step in range(3):
        losses = model.losses(image, mask)
        restored = model.restore(image)
        total = sum(losses.values()) + (restored - model.normalize(image)).abs().mean()
        optimiser.zero_grad()
        total.backward()
        idle = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert idle == [], step
        optimiser.step()
    for name, tensor in model.backbone.vit.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_restoring_leaves_the_geospatial_parts_out():
    model = tiny()
    image = torch.rand(1, 3, 64, 64)
    before = model.restore(image)
    logits = model(image)
    torch.nn.init.normal_(model.backbone.injector.out.weight)
    assert torch.equal(model.restore(image), before)
    assert not torch.allclose(model(image), logits)


def test_other_bands_are_taken_throughout():
    model = tiny(in_channels=12)
    image = torch.rand(1, 12, 40, 40)
    assert model(image).shape == (1, 3, 40, 40)
    assert model.restore(image).shape == image.shape


def test_without_a_restorer_it_says_so():
    model = tiny()
    model.restorer = None
    with pytest.raises(ConfigError, match='has no restorer'):
        model.restore(torch.rand(1, 3, 32, 32))
