import pytest
import timm
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.adapters import Gate, add_toolbox, choose, gated_modules, importance
from crossearth.models.meta import without_weights


def transformer():
    torch.manual_seed(0)
    return timm.create_model('test_vit', num_classes=0).requires_grad_(False).eval()


def opened(vit):
    return [name for name, part in gated_modules(vit).items() if part.opened]


def test_the_toolbox_changes_queries_and_values_alone():
    vit = transformer()
    before = vit.blocks[0].attn.qkv.weight.detach().clone()
    add_toolbox(vit, rank=2, width=4)
    change = vit.blocks[0].attn.qkv.parametrizations.weight[0]
    assert torch.equal(vit.blocks[0].attn.qkv.weight, before)
    nn.init.ones_(change.b_query)
    nn.init.ones_(change.b_value)
    difference = vit.blocks[0].attn.qkv.weight - before
    dim = vit.embed_dim
    torch.testing.assert_close(difference[:dim], change.a_query.sum(0).expand(dim, dim))
    assert torch.equal(difference[dim : 2 * dim], torch.zeros(dim, dim))
    torch.testing.assert_close(difference[2 * dim :], change.a_value.sum(0).expand(dim, dim))


def test_rows_of_tiny_vit_are_queries_and_values_head_by_head():
    from timm.models.tiny_vit import Attention

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attn = Attention(8, key_dim=2, num_heads=4, attn_ratio=1, resolution=(2, 2))
            self.mlp = nn.Linear(8, 8)

    block = Block().requires_grad_(False).eval()
    before = block.attn.qkv.weight.detach().clone()
    seen = []
    block.attn.proj.register_forward_hook(lambda _m, given, _out: seen.append(given[0]))
    add_toolbox(block, rank=2, width=4)
    change = block.attn.qkv.parametrizations.weight[0]
    x = torch.randn(3, 4, 8)
    block.attn(x)
    nn.init.ones_(change.b_value)
    changed = (block.attn.qkv.weight - before).abs().sum(1) > 0
    assert changed.view(4, 6).sum(1).tolist() == [2, 2, 2, 2]
    block.attn(x)
    # values alone changed: what each place attends to has not, so the difference of the outputs
    # is what the same attention makes of the difference of the values, in every head the same
    difference = (seen[1] - seen[0]).view(3, 4, 4, 2)
    assert difference.abs().max() > 0.1
    torch.testing.assert_close(difference[..., 0], difference[..., 1], rtol=1e-4, atol=1e-5)


def test_the_semantic_module_stands_next_to_the_mlp():
    vit = transformer()
    mlp = vit.blocks[0].mlp
    add_toolbox(vit, rank=2, width=4)
    part = vit.blocks[0].mlp
    assert part.mlp is mlp
    x = torch.randn(1, 5, vit.embed_dim)
    assert torch.equal(part(x), mlp(x))
    nn.init.normal_(part.bottleneck.up.weight)
    expected = mlp(x) + part.bottleneck.up(nn.functional.gelu(part.bottleneck.down(x)))
    torch.testing.assert_close(part(x), expected)


def test_closed_modules_do_nothing():
    torch.manual_seed(0)
    gate = Gate(2, 8, width=4)
    features = torch.randn(1, 12, 8)
    for block in gate.blocks:
        nn.init.ones_(block.adapter.spatial[0].up.bias)
    assert (gate(features, 1, (3, 4)) - features).abs().max() > 0.1
    gate.blocks[1].opened.zero_()
    assert torch.equal(gate(features, 1, (3, 4)), features)
    assert (gate(features, 0, (3, 4)) - features).abs().max() > 0.1


def test_importance_is_the_mean_square_of_gradients():
    gate = Gate(2, 4, width=2)
    gated = gated_modules(gate)
    gated['blocks.1'].opened.zero_()
    features = [torch.randn(1, 6, 4) for _ in range(3)]

    def losses():
        return [gate(gate(f, 0, (2, 3)), 1, (2, 3)).square().sum() for f in features]

    scores = importance(gated, losses)
    assert opened(gate) == ['blocks.0']  # as before
    gated['blocks.1'].opened.fill_(1)
    for name, part in gated.items():
        total = 0.0
        for loss in losses():
            grads = torch.autograd.grad(loss, part.own_parameters(), allow_unused=True)
            total += sum(float(g.square().sum()) for g in grads if g is not None)
        assert float(scores[name]) == pytest.approx(total / 3, rel=1e-4)
        assert total > 0


def test_modules_are_closed_again_where_a_loss_fails():
    gate = Gate(2, 4, width=2)
    gated = gated_modules(gate)
    gated['blocks.1'].opened.zero_()

    def losses():
        raise RuntimeError('out of memory')

    with pytest.raises(RuntimeError, match='out of memory'):
        importance(gated, losses)
    assert opened(gate) == ['blocks.0']


def test_kinds_are_compared_by_their_shares():
    """Semantic scores are a thousand times larger, and still only the largest share wins."""
    vit = transformer()
    add_toolbox(vit, rank=2, width=4)
    gated = gated_modules(vit)
    scores = {
        name: torch.tensor(1000.0 if part.kind == 'semantic' else 1.0)
        for name, part in gated.items()
    }
    scores['blocks.2.attn.qkv.parametrizations.weight.0'] = torch.tensor(3.0)
    scores['blocks.4.mlp'] = torch.tensor(2000.0)
    chosen = choose(gated, scores, 2)
    assert chosen == ['blocks.2.attn.qkv.parametrizations.weight.0', 'blocks.4.mlp']  # 3/8, 2/7
    assert sorted(opened(vit)) == sorted(chosen)
    with pytest.raises(ConfigError, match='top is 13: expected 1 to 12'):
        choose(gated, scores, 13)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('test_resnet', 'ResNet has no blocks of attention and MLP'),
        ('pvt_v2_b0', r'timm\.models\.pvt_v2\.Attention is not known to Gate'),
    ],
)
def test_networks_without_its_parts_are_refused_and_left_as_they_were(name, message):
    with without_weights():
        network = timm.create_model(name)
    keys = list(network.state_dict())
    with pytest.raises(ConfigError, match=message):
        add_toolbox(network)
    assert list(network.state_dict()) == keys


def test_a_toolbox_of_no_size_and_a_second_one_are_refused():
    vit = timm.create_model('test_vit', num_classes=0).requires_grad_(False)
    with pytest.raises(ConfigError, match='rank=0, width=64: expected at least 1'):
        add_toolbox(vit, rank=0)
    with pytest.raises(ConfigError, match='depth=0, dim=8, width=32: expected at least 1'):
        Gate(0, 8)
    add_toolbox(vit, rank=2, width=4)
    with pytest.raises(ConfigError, match='already has a toolbox: build it again'):
        add_toolbox(vit, rank=2, width=4)
