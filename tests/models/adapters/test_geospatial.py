import copy

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from crossearth.errors import ConfigError
from crossearth.models import ReinViT
from crossearth.models.adapters import GeospatialSemanticExtractor, Injector, LoRARein


def backbone(*, patch_size=16, checkpointing=False, injected=True):
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=4 * patch_size, patch_size=patch_size, embed_dim=32, depth=3, num_heads=2,
        num_classes=0, dynamic_img_size=True,
    )  # fmt: skip
    parts = {}
    if injected:
        parts['extractor'] = GeospatialSemanticExtractor(widths=(8, 8, 8, 8, 16))
        parts['injector'] = Injector(32, query_dim=16, heads=2)
    adapter = LoRARein(3, 32, tokens=8, rank=2, query_dim=16)
    return ReinViT(vit, adapter, checkpointing=checkpointing, **parts)


def wake(model):
    """Leave the state where nothing is injected."""
    torch.manual_seed(1)
    torch.nn.init.normal_(model.injector.out.weight)
    return model


def test_sizes_of_the_paper_have_1_55_and_0_85_million_parameters():
    extractor, injector = GeospatialSemanticExtractor(), Injector(1024)
    assert sum(p.numel() for p in extractor.parameters()) == 1_550_976
    assert sum(p.numel() for p in injector.parameters()) == 853_760


def test_untrained_injector_changes_no_bit():
    image = torch.rand(1, 3, 64, 96)
    with_parts, without = backbone(), backbone(injected=False)
    without.adapter.load_state_dict(with_parts.adapter.state_dict())
    without.vit.load_state_dict(with_parts.vit.state_dict())
    for ours, plain in zip(with_parts(image).maps, without(image).maps, strict=True):
        assert torch.equal(ours, plain)


def test_switched_off_it_is_the_backbone_without():
    model = wake(backbone())
    image = torch.rand(1, 3, 64, 64)
    on, off = model(image), model(image, geospatial=False)
    assert not torch.allclose(on.maps[0], off.maps[0])
    torch.nn.init.zeros_(model.injector.out.weight)
    assert torch.equal(model(image).maps[0], off.maps[0])


def test_injector_is_cross_attention():
    """One head, written out."""
    injector = Injector(6, query_dim=4, heads=1)
    torch.nn.init.normal_(injector.out.weight)
    queries, features = torch.rand(2, 5, 4), torch.rand(2, 5, 6)
    key, value = injector.key_value(features).chunk(2, dim=-1)
    scores = injector.query(queries) @ key.transpose(1, 2) / 4**0.5
    expected = F.linear(scores.softmax(-1) @ value, injector.out.weight)
    torch.testing.assert_close(injector(queries, features), expected)


def test_it_adds_to_what_rein_makes_of_the_same_features():
    model = wake(backbone())
    features, queries = torch.rand(1, 16, 32), torch.rand(1, 16, 16)
    tokens = torch.cat([torch.zeros(1, 1, 32), features], dim=1)
    expected = model.adapter(features, 1) + model.injector(queries, features)
    found = model._refined_block(torch.nn.Identity(), 1, (4, 4), tokens, queries, 0, {})
    assert torch.equal(found[:, 1:], expected)
    assert torch.equal(found[:, :1], tokens[:, :1])


def test_queries_follow_patches_of_another_size():
    model = wake(backbone(patch_size=14))
    assert model(torch.rand(1, 3, 56, 70)).maps[2].shape[-2:] == (4, 5)


def test_checkpointing_meets_the_queries_of_its_own_image():
    plain = wake(backbone())
    saving = copy.deepcopy(plain)
    saving.checkpointing = True
    images = [torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)]
    for model in (plain, saving):
        first, second = (model(image).maps[0].square().mean() for image in images)
        third = model(images[0], geospatial=False).maps[0].mean()
        (first + second + third).backward()
    for (name, ours), theirs in zip(saving.named_parameters(), plain.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
    assert saving.extractor.layers[0].weight.grad.abs().max() > 0


def test_extractor_and_injector_come_together():
    model = backbone(injected=False)
    with pytest.raises(ConfigError, match='pass both, or neither'):
        ReinViT(
            VisionTransformer(img_size=32, embed_dim=32, depth=3, num_heads=2, num_classes=0),
            model.adapter,
            injector=Injector(32),
        )


def test_sizes_without_meaning_are_refused():
    with pytest.raises(ConfigError, match='expected five positive widths'):
        GeospatialSemanticExtractor(widths=(1, 1, 1, 1, 0))
    with pytest.raises(ConfigError, match='query_dim is 10, which 8 heads cannot share'):
        Injector(32, query_dim=10)
