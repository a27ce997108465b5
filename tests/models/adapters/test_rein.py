import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models.adapters import LoRARein, Rein


def build(case) -> LoRARein | Rein:
    config = case['cfg']
    arguments = {
        'depth': config['num_layers'],
        'dim': config['embed_dims'],
        'tokens': config['token_length'],
        'query_dim': config['query_dims'],
        'patch_size': config['patch_size'],
        'zero_init': config.get('zero_mlp_delta_f', False),
        'link_queries': config.get('link_token_to_query', True),
    }
    if case['cls'] == 'LoRAReins':
        return LoRARein(rank=config['lora_dim'], **arguments)
    return Rein(**arguments)


@pytest.mark.parametrize('variant', ['lora', 'full', 'full_zero_delta', 'lora_nolink'])
def test_equals_the_reference(parity, variant):
    reference = parity('rein')
    case = reference.config[variant]
    adapter = build(case)
    ours = {name: list(p.shape) for name, p in adapter.named_parameters()}
    expected = case['keys']
    if not adapter.link_queries:  # we do not keep parameters that nothing uses
        expected = {k: v for k, v in expected.items() if not k.startswith(('transform', 'merge'))}
    assert ours == expected
    reference.weights.fill(adapter)
    if 'scale' not in case['keys']:
        adapter.scale.fill_(1)
    tensors = reference.tensors
    x = tensors[f'{variant}/x']
    for layer, y in enumerate(tensors[f'{variant}/y']):
        torch.testing.assert_close(adapter(x[:, 1:], layer), y[:, 1:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(adapter.tokens(), tensors[f'{variant}/tokens'])
    if adapter.link_queries:
        torch.testing.assert_close(adapter.queries(), tensors[f'{variant}/querys'])
    else:
        assert adapter.queries() is None


def test_one_token_by_hand():
    adapter = Rein(depth=1, dim=1, tokens=2, query_dim=1)
    with torch.no_grad():
        adapter.learnable_tokens.copy_(torch.tensor([[[0.0], [1.0]]]))
        adapter.scale.fill_(0.5)
        for linear in (adapter.mlp_token2feat, adapter.mlp_delta_f):
            linear.weight.fill_(2)
            linear.bias.fill_(1)
    f = torch.tensor([[[1.0]]])
    share = torch.e / (1 + torch.e)  # token 0 has score 0, token 1 score f·t = 1
    delta = 2 * (share * (2 * 1 + 1) + 1) + 1
    torch.testing.assert_close(adapter(f, 0), torch.tensor([[[1 + 0.5 * delta]]]))


def test_queries_interleave_maximum_mean_and_last():
    adapter = Rein(depth=2, dim=2, tokens=3, query_dim=2)
    with torch.no_grad():
        nn.init.eye_(adapter.transform.weight)
        adapter.transform.bias.zero_()
        adapter.merge.weight.copy_(torch.tensor([[1.0, 10, 100, 0, 0, 0], [0, 0, 0, 1, 10, 100]]))
        adapter.merge.bias.zero_()
    tokens = adapter.learnable_tokens.detach()
    expected = tokens.amax(0) + 10 * tokens.mean(0) + 100 * tokens[-1]
    torch.testing.assert_close(adapter.queries(), expected)


def test_initial_tokens_fill_the_bound_of_the_paper():
    adapter = LoRARein(depth=24, dim=1024)
    bound = (6 / (3 * 16**2 + (1024 * 16) ** 0.5)) ** 0.5
    for tokens in (adapter.learnable_tokens_a, adapter.learnable_tokens_b):
        assert 0.99 * bound < tokens.abs().max() <= bound
    assert adapter.scale.item() == pytest.approx(0.001)


def test_adapter_of_the_release_has_2_99_million_parameters():
    assert sum(p.numel() for p in LoRARein(24, 1024).parameters()) == 2_990_081


@pytest.mark.parametrize('bad', [{'depth': 0}, {'tokens': 1}, {'rank': 0}])
def test_sizes_that_are_too_small_are_named(bad):
    name, size = next(iter(bad.items()))
    with pytest.raises(ConfigError, match=f'{name} is {size}'):
        LoRARein(**{'depth': 2, 'dim': 8, **bad})
