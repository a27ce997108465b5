import copy

import pytest
import timm
import torch
import torch.nn.functional as F

from crossearth.errors import ConfigError
from crossearth.models import ReinViT

from .test_rein_vit import tiny_vit


def test_xformers_gets_what_sdpa_gets(monkeypatch):
    """The operator is replaced by its definition, as it has no CPU version."""
    xformers_ops = pytest.importorskip('xformers.ops', reason='no xformers on this platform')

    def definition(query, key, value):
        heads_first = (part.transpose(1, 2).float() for part in (query, key, value))
        return F.scaled_dot_product_attention(*heads_first).transpose(1, 2).to(query.dtype)

    monkeypatch.setattr(xformers_ops, 'memory_efficient_attention', definition)
    torch.manual_seed(0)
    vit = tiny_vit(img_size=32, qk_norm=True).to(torch.bfloat16)
    other = copy.deepcopy(vit)
    image = torch.rand(1, 3, 32, 32, dtype=torch.bfloat16)
    expected = ReinViT(vit, None)(image).maps[2]
    backbone = ReinViT(other, None, attention='xformers')
    with pytest.raises(ConfigError, match=r"cannot run on cpu.*use attention='sdpa'"):
        backbone(image)
    monkeypatch.setattr('crossearth.models.backbones.xformers_attention._DEVICE', 'cpu')
    torch.testing.assert_close(backbone(image).maps[2], expected, rtol=0.05, atol=0.05)
    with pytest.raises(ConfigError, match=r'cannot run in torch.float32'):
        backbone.float()(image.float())


def test_attention_of_another_name_is_refused(unchecked):
    with pytest.raises(ConfigError, match=r"attention is 'flash': expected 'sdpa' or 'xformers'"):
        ReinViT(tiny_vit(img_size=32), None, attention='flash')


def test_xformers_is_refused_where_attention_is_not_plain():
    pytest.importorskip('xformers.ops', reason='no xformers on this platform')
    vit = timm.create_model(
        'eva02_tiny_patch14_224', depth=2, embed_dim=48, num_heads=4, img_size=28, num_classes=0
    )
    with pytest.raises(ConfigError, match='the blocks have EvaAttention'):
        ReinViT(vit, None, attention='xformers')


@pytest.mark.gpu
def test_xformers_equals_sdpa_on_cuda():
    vit = tiny_vit(img_size=64, embed_dim=64).cuda().to(torch.bfloat16)
    other = copy.deepcopy(vit)
    image = torch.rand(2, 3, 64, 64, device='cuda', dtype=torch.bfloat16)
    expected = ReinViT(vit, None)(image).maps[2]
    ours = ReinViT(other, None, attention='xformers')(image).maps[2]
    torch.testing.assert_close(ours, expected, rtol=0.05, atol=0.05)


def test_weights_keep_their_names():
    pytest.importorskip('xformers.ops', reason='no xformers on this platform')
    vit = tiny_vit(img_size=32, qk_norm=True, scale_attn_norm=True)
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    after = ReinViT(vit, None, attention='xformers').vit.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())
