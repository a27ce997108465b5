import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer

from crossearth.errors import ConfigError, ShapeError
from crossearth.models import ReinViT
from crossearth.models.adapters import GeospatialSemanticExtractor, Injector, LoRARein


def tiny_vit(**arguments) -> VisionTransformer:
    defaults = {'patch_size': 16, 'embed_dim': 32, 'depth': 4, 'num_heads': 2, 'num_classes': 0}
    return VisionTransformer(**{**defaults, 'dynamic_img_size': True, **arguments})


def test_equals_dinov2_with_rein(parity):
    reference = parity('dinov2_rein')
    config, tensors = reference.config, reference.tensors
    vit = tiny_vit(img_size=128, embed_dim=64, num_heads=4, init_values=1.0)
    adapter = LoRARein(4, 64, tokens=10, rank=4)
    # Filling by name first shows that every key of the reference but mask_token is ours.
    ours = {*vit.state_dict(), *(f'reins.{key}' for key in adapter.state_dict())}
    assert ours == set(config['keys']) - {'mask_token'}
    reference.weights.fill(vit)
    reference.weights.fill(adapter, 'reins.')
    backbone = ReinViT(vit, adapter, indices=(0, 1, 2, 3)).train()
    image = reference.weights.rnd('img(128, 128)', 1, 3, 128, 128)
    features = backbone(image)
    for level, ours in enumerate(features.maps):
        if ours.shape[-1] > 32:
            ours = F.avg_pool2d(ours, 4)
        torch.testing.assert_close(ours, tensors[f'runs/0/pyramid/{level}'], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features.queries, tensors['runs/0/querys'], rtol=1e-5, atol=1e-5)
    loss = sum(m.sin().sum() for m in features.maps) + features.queries.sin().sum()
    loss.backward()
    for name, parameter in adapter.named_parameters():
        expected = tensors[f'train/grads/reins.{name}']
        torch.testing.assert_close(
            parameter.grad, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item()
        )
    assert all(p.grad is None for p in vit.parameters())


def test_equals_dinov2_with_rein_away_from_the_native_size(parity):
    """Positions are given here; how timm resizes them differs (antialias), see convert_dinov2."""
    reference = parity('dinov2_rein')
    vit = tiny_vit(img_size=(128, 192), embed_dim=64, num_heads=4, init_values=1.0)
    adapter = LoRARein(4, 64, tokens=10, rank=4)
    reference.weights.fill(vit, skip=('pos_embed',))
    reference.weights.fill(adapter, 'reins.')
    with torch.no_grad():
        vit.pos_embed.copy_(reference.tensors['runs/1/pos_embed'])
    backbone = ReinViT(vit, adapter, indices=(0, 1, 2, 3))
    maps = backbone(reference.weights.rnd('img(128, 192)', 1, 3, 128, 192)).maps
    for level, ours in enumerate(maps):
        if ours.shape[-1] > 32:
            ours = F.avg_pool2d(ours, 4)
        torch.testing.assert_close(
            ours, reference.tensors[f'runs/1/pyramid/{level}'], rtol=1e-5, atol=1e-5
        )


def test_transformer_is_bit_identical_after_training():
    torch.manual_seed(0)
    vit = tiny_vit(img_size=32, drop_path_rate=0.5, proj_drop_rate=0.5, reg_tokens=4)
    before = copy.deepcopy(vit.state_dict())
    backbone = ReinViT(vit, LoRARein(4, 32, tokens=8, rank=2))
    optimiser = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=0.1)
    image = torch.rand(2, 3, 32, 32)
    for _ in range(3):
        backbone.train()
        features = backbone(image)
        (
            sum(m.square().mean() for m in features.maps) + features.queries.square().mean()
        ).backward()
        assert all(p.grad is None and not p.requires_grad for p in vit.parameters())
        assert all(p.grad is not None for p in backbone.adapter.parameters())
        optimiser.step()
        optimiser.zero_grad()
    for name, value in vit.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_dropout_and_stochastic_depth_are_off_in_training():
    vit = tiny_vit(img_size=32, drop_path_rate=0.9, proj_drop_rate=0.9, pos_drop_rate=0.9)
    backbone = ReinViT(vit, LoRARein(4, 32, tokens=8, rank=2)).train()
    assert backbone.training
    assert not any(module.training for module in vit.modules())
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(backbone(image).maps[0], backbone(image).maps[0])


def test_adapter_sees_patch_tokens_only():
    seen = []

    class Spy(torch.nn.Module):
        depth = 4

        def forward(self, features, layer, grid):  # noqa: ARG002 -- signature of the contract
            seen.append((layer, features.shape[1]))
            return features

        def queries(self):
            return None

    ReinViT(tiny_vit(img_size=64, reg_tokens=4), Spy())(torch.rand(1, 3, 64, 32))
    assert seen == [(0, 8), (1, 8), (2, 8), (3, 8)]


def test_without_adapter_it_is_the_plain_transformer():
    vit = tiny_vit(img_size=64)
    image = torch.rand(1, 3, 64, 64)
    expected = vit.eval().forward_intermediates(image, indices=[2], intermediates_only=True)
    features = ReinViT(vit, None, indices=(0, 1, 2, 3))(image)
    assert torch.equal(features.maps[2], expected[0])
    assert features.queries is None


@pytest.mark.parametrize('hw', [(16, 16), (17, 50), (33, 31), (80, 80)])
def test_any_size_gives_maps_of_the_rounded_up_size(hw):
    backbone = ReinViT(tiny_vit(img_size=32), LoRARein(4, 32, tokens=8, rank=2))
    maps = backbone(torch.rand(1, 3, *hw)).maps
    for stride, level in zip((4, 8, 16, 32), maps, strict=True):
        assert level.shape[-2:] == tuple(-(-side // stride) for side in hw)


def test_padding_leaves_what_an_image_of_whole_patches_gives():
    """Replicated borders: a constant image stays constant, whatever its size."""
    backbone = ReinViT(tiny_vit(img_size=32), None)
    whole, part = (backbone(torch.full((1, 3, n, n), 0.3)).maps[2] for n in (32, 27))
    torch.testing.assert_close(whole, part)


def test_default_blocks_of_a_large_transformer_are_those_of_the_release():
    backbone = ReinViT(tiny_vit(img_size=32, depth=24), None)
    assert backbone.indices == (7, 11, 15, 23)
    assert ReinViT(tiny_vit(img_size=32, depth=12), None).indices == (3, 5, 7, 11)


def test_shallow_transformer_reads_a_block_more_than_once():
    assert len(ReinViT(tiny_vit(img_size=32, depth=2), None)(torch.rand(1, 3, 32, 32)).maps) == 4


def test_a_copy_runs_on_its_own_adapter():
    backbone = ReinViT(tiny_vit(img_size=32), LoRARein(4, 32, tokens=8, rank=2))
    image = torch.rand(1, 3, 32, 32)
    before = backbone(image).maps[0]
    clone = copy.deepcopy(backbone)
    with torch.no_grad():
        clone.adapter.scale.fill_(10)
    assert torch.equal(backbone(image).maps[0], before)
    assert not torch.equal(clone(image).maps[0], before)


def test_threads_that_share_a_model_do_not_share_their_images():
    torch.manual_seed(0)
    injector = Injector(32)
    torch.nn.init.normal_(injector.out.weight)
    arrived = threading.Barrier(2, timeout=20)

    class Meeting(GeospatialSemanticExtractor):
        """Lets nobody pass before both threads have their queries."""

        def forward(self, image):
            queries = super().forward(image)
            if threading.current_thread() is not threading.main_thread():
                arrived.wait()
            return queries

    backbone = ReinViT(tiny_vit(img_size=32), None, extractor=Meeting(), injector=injector)
    images = [torch.rand(1, 3, 32, 32) for _ in range(2)]
    with torch.no_grad():
        alone = [backbone(image).maps[2] for image in images]
    with torch.no_grad(), ThreadPoolExecutor(2) as threads:
        together = list(threads.map(torch.no_grad()(lambda i: backbone(i).maps[2]), images))
    for ours, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(ours, expected)


def test_image_smaller_than_a_patch_is_refused():
    with pytest.raises(ShapeError, match='10x64 px is smaller than one patch of 16x16'):
        ReinViT(tiny_vit(img_size=32), None)(torch.rand(1, 3, 10, 64))


def test_hybrid_counts_the_stride_of_its_stem():
    """Patches of 8 px of a map at stride 4: a token is 32 px."""
    vit = timm.create_model('vit_tiny_r_s16_p8_224', num_classes=0, img_size=64, depth=4)
    backbone = ReinViT(vit, None)
    assert backbone.patch_px == (32, 32)
    assert [level.shape[-1] for level in backbone(torch.rand(1, 3, 64, 64)).maps] == [8, 4, 2, 1]


def test_two_backbones_share_one_transformer():
    """Nothing of the transformer is replaced: each backbone gives what it gives alone."""
    vit = tiny_vit(img_size=32)
    alone = ReinViT(copy.deepcopy(vit), LoRARein(4, 32, tokens=8, rank=2))
    adapted, plain = ReinViT(vit, alone.adapter), ReinViT(vit, None, indices=(0, 1, 2, 3))
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(adapted(image).maps[2], alone(image).maps[2])
    expected = vit.forward_intermediates(image, indices=[2], intermediates_only=True)
    assert torch.equal(plain(image).maps[2], expected[0])


def test_both_flows_in_one_pass_are_each_flow_alone():
    torch.manual_seed(0)
    injector = Injector(32)
    torch.nn.init.normal_(injector.out.weight)
    backbone = ReinViT(
        tiny_vit(img_size=32),
        LoRARein(4, 32, tokens=8, rank=2),
        extractor=GeospatialSemanticExtractor(),
        injector=injector,
    )
    image, damaged = torch.rand(2, 3, 40, 48), torch.rand(3, 3, 40, 48)
    together = backbone.forward_both(image, damaged)
    alone = backbone(image), backbone(damaged, geospatial=False)
    assert not torch.allclose(backbone(damaged).maps[0], alone[1].maps[0])
    for ours, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(ours.maps, expected.maps, rtol=1e-5, atol=1e-5)


def test_odd_grid_rounds_up_or_as_the_release_does():
    """Of 11 columns of patches the release keeps 5 cells of two; the last column is left out."""
    vit = tiny_vit(img_size=32)
    image = torch.rand(1, 3, 192, 176)
    up = ReinViT(vit, None)(image)
    down = ReinViT(vit, None, odd_grid='down')(image)
    assert up.maps[3].shape[-2:] == (6, 6)
    expected = vit.forward_intermediates(image, indices=[3], intermediates_only=True)[0]
    assert torch.allclose(down.maps[3], F.avg_pool2d(expected, 2), atol=1e-6)  # floor, by pairs
    for ours, theirs in zip(up.maps[:3], down.maps[:3], strict=True):
        assert torch.equal(ours, theirs)


def test_odd_grid_of_another_name_is_refused(unchecked):
    with pytest.raises(ConfigError, match=r"odd_grid is 'left': expected 'up' or 'down'"):
        ReinViT(tiny_vit(img_size=32), None, odd_grid='left')


def test_adapter_that_changes_the_shape_is_named():
    class Cut(torch.nn.Module):
        depth = 4

        def forward(self, features, layer, grid):  # noqa: ARG002 -- signature of the contract
            return features[:, : 3 + layer]

        def queries(self):
            return None

    with pytest.raises(ShapeError, match=r'Cut returned features of shape \(1, 3, 32\) for \(1, 4'):
        ReinViT(tiny_vit(img_size=32), Cut())(torch.rand(1, 3, 32, 32))


def test_adapter_of_another_depth_is_refused():
    with pytest.raises(ConfigError, match='adapter has 3 layers, the transformer 4 blocks'):
        ReinViT(tiny_vit(img_size=32), LoRARein(3, 32, tokens=8, rank=2))


@pytest.mark.parametrize('indices', [(0, 1, 2), (0, 2, 1, 3), (0, 1, 2, 4), (-1, 0, 1, 2)])
def test_indices_out_of_order_or_range_are_refused(indices):
    with pytest.raises(ConfigError, match='expected four increasing ones of 0 to 3'):
        ReinViT(tiny_vit(img_size=32), None, indices=indices)


FAMILIES = {
    'vit_small_patch14_dinov2': {},
    'vit_base_patch14_dinov2': {},
    'vit_large_patch14_dinov2': {},
    'vit_giant_patch14_dinov2': {'embed_dim': 96},
    'vit_small_patch14_reg4_dinov2': {},
    'vit_giant_patch14_reg4_dinov2': {'embed_dim': 96},
    'vit_small_patch16_dinov3': {},
    'vit_large_patch16_dinov3': {},
    'vit_7b_patch16_dinov3': {},
    'vit_base_patch16_clip_224': {},
    'vit_base_patch16_siglip_224': {},
    'vit_so400m_patch14_siglip_384': {},
    'eva02_tiny_patch14_224': {},
    'eva02_large_patch14_448': {},
    'deit3_small_patch16_224': {},
    'beit_base_patch16_224': {'dynamic_img_size': None},
    'beitv2_base_patch16_224': {'dynamic_img_size': None},
    'cait_xxs24_224': {'dynamic_img_size': None},
    'flexivit_small': {},
    'vit_small_patch16_rope_mixed_224': {},
    'vit_pe_spatial_tiny_patch16_512': {},
    'deit_tiny_distilled_patch16_224': {},
    'vit_relpos_small_patch16_224': {'dynamic_img_size': None},
    'vit_relpos_medium_patch16_cls_224': {'dynamic_img_size': None},
    'aimv2_large_patch14_224': {},
}


@pytest.mark.parametrize('name', FAMILIES)
@pytest.mark.filterwarnings('ignore::UserWarning')  # timm about sizes, for some of the families
def test_every_family_runs_through_the_adapter(name):
    torch.manual_seed(0)
    arguments = {'embed_dim': 48, 'num_heads': 4, 'dynamic_img_size': True, **FAMILIES[name]}
    arguments = {key: value for key, value in arguments.items() if value is not None}
    side = 56 if 'patch14' in name else 64
    vit = timm.create_model(name, depth=3, num_classes=0, img_size=side, **arguments)
    seen = []

    class Double(torch.nn.Module):
        depth = 3

        def forward(self, features, layer, grid):  # noqa: ARG002 -- signature of the contract
            seen.append((layer, features.shape[1]))
            return 2 * features

        def queries(self):
            return None

    image = torch.rand(1, 3, side, side)
    plain = vit.eval().forward_intermediates(image, indices=[0], intermediates_only=True)[0]
    backbone = ReinViT(vit, Double(), indices=(0, 0, 0, 2))
    maps = backbone(image).maps
    assert seen == [(0, 16), (1, 16), (2, 16)]
    torch.testing.assert_close(maps[2], 2 * plain)
    if 'dynamic_img_size' in arguments:
        wide = backbone(torch.rand(1, 3, side, 2 * side)).maps
        assert [level.shape[-1] for level in wide] == [32, 16, 8, 4]


@pytest.mark.parametrize('training', [True, False])
def test_checkpointing_changes_no_gradient(training):
    torch.manual_seed(0)
    vit = tiny_vit(img_size=32, reg_tokens=2)
    plain = ReinViT(vit, LoRARein(4, 32, tokens=8, rank=2)).train(training)
    saving = copy.deepcopy(plain)
    saving.checkpointing = True
    images = [torch.rand(1, 3, 32, 48) for _ in range(2)]
    for backbone in (plain, saving):  # both forwards first: what is computed again is their own
        loss = sum(backbone(image).maps[0].square().mean() for image in images)
        loss.backward()
    for ours, theirs in zip(saving.adapter.parameters(), plain.adapter.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)
