import doctest

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from crossearth.errors import ConfigError, ShapeError
from crossearth.models import (
    Features,
    builders,
    crossearth_vit_base,
    crossearth_vit_large,
    crossearth_vit_small,
    fpn_timm,
    frozen_vit_large,
    load_model,
    rein_vit_fpn,
    rein_vit_large,
    save_model,
)
from crossearth.models.meta import without_weights


@pytest.mark.parametrize('name', builders.__all__)
def test_the_example_of_each_builder_runs(name):
    """pytest's own collection takes what a decorator returns for another module's."""
    (example,) = doctest.DocTestFinder(recurse=False).find(
        getattr(builders, name), name, module=builders
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_builders_refuse_statistics_of_other_bands():
    with pytest.raises(ConfigError, match='mean has 3 and std 4 values for 4 bands'):
        fpn_timm('resnet10t', num_classes=2, in_channels=4, mean=[0.1, 0.2, 0.3])


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_release_trains_23_57_million_parameters_and_geospatial_parts_add_2_40():
    with without_weights():
        released = rein_vit_large(5)
        ours = crossearth_vit_large(5, restorer=None)
    assert trainable(released) == 2_990_081 + 20_576_198  # 23.57 M
    assert trainable(ours) - trainable(released) == 1_550_976 + 853_760  # 1.55 M + 0.85 M


def test_frozen_builder_trains_the_decoder_alone():
    with without_weights():
        model = frozen_vit_large(6)
    assert trainable(model.backbone) == 0
    assert model.backbone.adapter is None
    assert not model.decoder.link_queries


def test_builders_differ_in_width():
    with without_weights():
        widths = [
            build(6, img_size=64).backbone.channels[0]
            for build in (crossearth_vit_small, crossearth_vit_base, crossearth_vit_large)
        ]
    assert widths == [384, 768, 1024]


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


def test_file_trained_with_xformers_runs_where_there_is_none(tmp_path):
    """How attention was computed is not in the file: the result is the same."""
    pytest.importorskip('xformers.ops', reason='no xformers on this platform')
    trained = crossearth_vit_small(2, img_size=32, restorer=None, attention='xformers')
    again = load_model(save_model(trained, tmp_path / 'model.safetensors'))
    assert again(torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)


def test_image_size_of_no_whole_patches_is_refused():
    with pytest.raises(ConfigError, match='60x60 px, expected multiples of the patch, 16 px'):
        crossearth_vit_small(6, img_size=60)


def test_released_padding_sees_an_image_as_the_published_code_does():
    """Whole patches are not padded, and the coarsest map leaves out half a cell."""
    torch.manual_seed(0)
    ours = crossearth_vit_small(4, img_size=64, padding='released', restorer=None).eval()
    image = torch.rand(1, 3, 192, 176)
    vit, adapter = ours.backbone.vit, ours.backbone.adapter
    with torch.no_grad():
        vit_maps = _by_hooks(vit, adapter, ours.normalize(image), ours.backbone.indices)
        scaled = [
            F.interpolate(level, scale_factor=scale, mode='bilinear')
            for level, scale in zip(vit_maps, (4, 2, 1, 0.5), strict=True)
        ]
        logits = ours.decoder(Features(tuple(scaled), adapter.queries()))
        expected = F.interpolate(logits, (192, 176), mode='bilinear')
        torch.testing.assert_close(ours(image).exp(), expected, rtol=1e-4, atol=1e-4)
        padded = crossearth_vit_small(4, img_size=64, restorer=None).eval()
        padded.load_state_dict(ours.state_dict())
        assert (padded(image).exp() - ours(image).exp()).abs().max() > 0.01
        aligned = torch.rand(1, 3, 128, 192)
        assert torch.equal(padded(aligned), ours(aligned))


def _by_hooks(vit, adapter, image, indices):
    """The recipe of `forward_intermediates` and forward hooks, which knows nothing of ReinViT."""

    def hook(layer):
        def refine(_, __, tokens):
            prefix, patches = tokens[:, : vit.num_prefix_tokens], tokens[:, vit.num_prefix_tokens :]
            return torch.cat([prefix, adapter(patches, layer)], dim=1)

        return refine

    handles = [b.register_forward_hook(hook(i)) for i, b in enumerate(vit.blocks)]
    found = vit.forward_intermediates(image, indices=list(indices), intermediates_only=True)
    for handle in handles:
        handle.remove()
    return found


def test_padding_of_another_name_is_refused(unchecked):
    with pytest.raises(ConfigError, match="padding is 'none': expected 'stride' or 'released'"):
        crossearth_vit_small(4, img_size=64, padding='none')


def test_padding_is_kept_in_the_file(tmp_path):
    model = crossearth_vit_small(2, img_size=32, padding='released', restorer=None)
    again = load_model(save_model(model, tmp_path / 'model.safetensors'))
    assert (again.multiple_px, again.backbone.odd_grid) == (16, 'down')


def test_two_sources_of_the_frozen_transformer_are_refused():
    with pytest.raises(ConfigError, match='weights contain their own frozen transformer'):
        rein_vit_large(5, weights='converted.safetensors', pretrained=True)


def test_transformer_of_one_size_takes_that_size():
    model = rein_vit_fpn('beit_base_patch16_224', num_classes=2, img_size=(32, 64), width=8).eval()
    assert model(torch.rand(1, 3, 30, 64)).shape == (1, 2, 30, 64)
    with pytest.raises(ShapeError, match=r'Beit takes only images of 32x64 px, got 64x64 px'):
        model(torch.rand(1, 3, 64, 64))


def test_the_width_of_the_decoder_is_the_one_asked_for_whatever_the_size_of_the_images():
    model = fpn_timm('swin_tiny_patch4_window7_224', num_classes=2, img_size=(64, 96), width=16)
    assert model.decoder.classify.in_channels == 16


@pytest.mark.parametrize('size', [(1, 1), (10, 12), (16, 40), (33, 10)])
def test_released_padding_takes_images_of_one_patch(size):
    model = crossearth_vit_small(2, img_size=64, padding='released', restorer=None).eval()
    assert model(torch.rand(1, 3, *size)).shape == (1, 2, *size)
