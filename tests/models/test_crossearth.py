import copy

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from crossearth.errors import CheckpointError, ConfigError
from crossearth.models import (
    CrossEarth,
    CrossEarth_Weights,
    GeospatialSemanticExtractor,
    Injector,
    LoRARein,
    Mask2FormerDecoder,
    MaskLosses,
    MultiStageASPP,
    ReinViT,
    crossearth_vit_base,
    crossearth_vit_large,
    crossearth_vit_small,
    dinov2_vit,
    frozen_vit_large,
    load_model,
    rein_vit_large,
    save_model,
)


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


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_release_trains_23_57_million_parameters_and_geospatial_parts_add_2_40():
    with torch.device('meta'):
        released = rein_vit_large(5)
        ours = crossearth_vit_large(5, restorer=None)
    assert trainable(released) == 2_990_081 + 20_576_198  # 23.57 M
    assert trainable(ours) - trainable(released) == 1_550_976 + 853_760  # 1.55 M + 0.85 M


def test_frozen_builder_trains_the_decoder_alone():
    with torch.device('meta'):
        model = frozen_vit_large(6)
    assert trainable(model.backbone) == 0
    assert model.backbone.adapter is None
    assert not model.decoder.link_queries


def test_builders_differ_in_width():
    with torch.device('meta'):
        widths = [
            build(6, img_size=64).backbone.channels[0]
            for build in (crossearth_vit_small, crossearth_vit_base, crossearth_vit_large)
        ]
    assert widths == [384, 768, 1024]


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


def test_official_backbone_weights_are_converted_on_the_way(tmp_path):
    torch.manual_seed(0)
    official = timm.create_model('vit_small_patch14_dinov2', img_size=518, num_classes=0)
    state = {**official.state_dict(), 'mask_token': torch.zeros(1, 384)}
    torch.save(state, tmp_path / 'dinov2_vits14.pth')
    vit = dinov2_vit(
        'vit_small_patch14_dinov2', img_size=64, pretrained=tmp_path / 'dinov2_vits14.pth'
    )
    assert vit.patch_embed.proj.weight.shape[-1] == 16
    assert torch.equal(vit.blocks[3].attn.qkv.weight, official.blocks[3].attn.qkv.weight)
    with pytest.raises(CheckpointError, match=r"'vit_base_patch14_dinov2' from .* of shape"):
        dinov2_vit('vit_base_patch14_dinov2', pretrained=tmp_path / 'dinov2_vits14.pth')
    with pytest.raises(CheckpointError, match="lack 'reg_token'"):
        dinov2_vit('vit_small_patch14_reg4_dinov2', pretrained=tmp_path / 'dinov2_vits14.pth')


def test_file_of_a_model_holds_no_transformer(tmp_path):
    torch.manual_seed(0)
    official = timm.create_model('vit_small_patch14_dinov2', img_size=518, num_classes=0)
    save_file(official.state_dict(), tmp_path / 'vits14.safetensors')
    model = crossearth_vit_small(
        2, img_size=64, pretrained=str(tmp_path / 'vits14.safetensors'), restorer=None
    )
    path = save_model(model, tmp_path / 'model.safetensors')
    assert not any('.vit.' in name for name in load_file(path))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(load_model(path)(image), model.eval()(image))


def test_released_weights_load_and_geospatial_parts_change_no_bit(tmp_path):
    torch.manual_seed(0)
    plain = crossearth_vit_small(2, img_size=64, geospatial=False, restorer=None).eval()
    path = save_model(plain, tmp_path / 'converted.safetensors')
    model = crossearth_vit_small(2, img_size=64, weights=str(path)).eval()
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(model(image), plain(image))
    with pytest.raises(CheckpointError, match=r'of another shape .*cls_embed.* \(3.* for \(4'):
        crossearth_vit_small(3, img_size=64, weights=str(path))


def test_released_file_that_is_not_converted_says_how_to(tmp_path):
    (tmp_path / 'Vaihingen-source.pth').touch()
    with pytest.raises(CheckpointError, match=r'run `crossearth weights convert .*Vaihingen'):
        crossearth_vit_small(6, img_size=64, weights=str(tmp_path / 'Vaihingen-source.pth'))


def test_released_weights_load_for_other_bands(tmp_path):
    released = crossearth_vit_small(6, img_size=64, geospatial=False, restorer=None)
    path = save_model(released, tmp_path / 'converted.safetensors')
    model = crossearth_vit_small(6, img_size=64, in_channels=4, weights=str(path), mean=[0.3] * 4)
    red, green, blue = released.backbone.vit.patch_embed.proj.weight.unbind(1)
    expected = torch.stack([red, green, blue, red], 1) * 0.75
    torch.testing.assert_close(model.backbone.vit.patch_embed.proj.weight, expected)
    assert torch.equal(model.decoder.cls_embed.weight, released.decoder.cls_embed.weight)
    assert model.mean.tolist() == pytest.approx([0.3] * 4)  # the model's, for its bands
    image = torch.rand(1, 4, 40, 64)
    again = load_model(save_model(model.eval(), tmp_path / 'mine.safetensors'))
    assert torch.equal(again(image), model(image))


def test_file_trained_with_xformers_runs_where_there_is_none(tmp_path):
    """How attention was computed is not in the file: the result is the same."""
    pytest.importorskip('xformers.ops', reason='no xformers on this platform')
    trained = crossearth_vit_small(2, img_size=32, restorer=None, attention='xformers')
    again = load_model(save_model(trained, tmp_path / 'model.safetensors'))
    assert again(torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)


def test_image_size_of_no_whole_patches_is_refused():
    with pytest.raises(ConfigError, match='60x60 px is no multiple of patches of 16 px'):
        crossearth_vit_small(6, img_size=60)


def test_weights_that_are_not_here_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    weights = CrossEarth_Weights.CASID_SUB
    with (
        pytest.raises(CheckpointError, match=r'casid-sub-source\.pth.*weights convert'),
        torch.device('meta'),
    ):
        rein_vit_large(5, weights=weights)
    assert weights.url.endswith('Cusyoung/CrossEarth/resolve/main/casid-sub-source.pth')
    assert weights.meta['img_size'] == 1024


def test_every_released_file_is_listed_once():
    files = [weights.value.file for weights in CrossEarth_Weights]
    assert len(set(files)) == len(files) == 12
    assert CrossEarth_Weights.VAIHINGEN.meta['bands'] == ('nir', 'red', 'green')
    assert CrossEarth_Weights.POTSDAM_IRRG_RESCUENET.meta['num_classes'] == 5
