import pytest
import torch

from crossearth.errors import ConfigError
from crossearth.models.adapters import EarthAdapter, low_frequencies, split_frequencies


def test_the_parts_sum_to_the_features_and_a_slow_wave_is_low():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 8, 12)
    low, high = split_frequencies(features, 0.3)
    torch.testing.assert_close(low + high, features)
    x = torch.arange(16) * (2 * torch.pi / 16)
    slow, fast = x.cos().expand(1, 1, 16, 16), (6 * x).cos().expand(1, 1, 16, 16)
    low, high = split_frequencies(slow + fast, 0.3)  # waves of 1 and 6 of 8 cycles
    torch.testing.assert_close(low, slow, rtol=0, atol=1e-5)
    torch.testing.assert_close(high, fast, rtol=0, atol=1e-5)


def test_low_frequencies_are_a_circle_around_zero():
    mask = low_frequencies(16, 16, 0.5)
    cycles = torch.fft.fftfreq(16) * 16
    distance = (cycles[:, None] ** 2 + cycles[None] ** 2).sqrt()
    assert torch.equal(mask, distance <= 0.5 * 16 / 2)
    assert low_frequencies(5, 7, 0.1).sum() == 1  # the mean alone


def test_frequencies_are_those_of_the_transform():
    for rows, cols in ((1, 1), (2, 3), (7, 8), (32, 33)):
        down, across = torch.fft.fftfreq(rows), torch.fft.fftfreq(cols)
        far = (down[:, None] ** 2 + across[None] ** 2).sqrt() * 2
        assert torch.equal(low_frequencies(rows, cols, 0.31), far <= 0.31)


def test_the_formula_by_hand():
    """One place, so that its low frequencies are all of it; every bottleneck is x → 2 relu(x)."""
    adapter = EarthAdapter(1, 1, width=1)
    with torch.no_grad():
        for expert in (adapter.spatial[0], adapter.low[0], adapter.high[0]):
            expert.down.weight.fill_(1)
            expert.down.bias.zero_()
            expert.up.weight.fill_(2)
        adapter.router[0].weight.zero_()
        adapter.router[0].bias.copy_(torch.tensor([0.0, 2.0, 1.0]).log())  # shares 0, ⅔, ⅓
        adapter.alpha.fill_(0.5)
    refined = adapter(torch.tensor([[[3.0]]]), 0, (1, 1))
    torch.testing.assert_close(refined, torch.tensor([[[3 + 0.5 * 2 / 3 * 6]]]))


def test_blocks_have_their_own_weights_and_all_of_them_learn():
    torch.manual_seed(0)
    adapter = EarthAdapter(2, 8, width=4)
    features = torch.randn(2, 12, 8)
    for step in range(2):  # the layers below get gradients once the last ones are not zero
        adapter(adapter(features, 0, (3, 4)), 1, (3, 4)).square().sum().backward()
        if step == 0:
            with torch.no_grad():
                for parameter in adapter.parameters():
                    parameter -= 1e-3 * parameter.grad
    assert all(p.grad.abs().sum() > 0 for p in adapter.parameters())
    assert adapter.queries() is None
    torch.nn.init.ones_(adapter.spatial[1].up.bias)
    first, second = (adapter.added(features, layer, (3, 4)) for layer in (0, 1))
    assert (first - second).abs().max() > 0.1


@pytest.mark.parametrize(
    ('options', 'message'),
    [({'width': 0}, 'width=0: expected at least 1'), ({'cutoff': 1.0}, 'cutoff is 1.0: expected')],
)
def test_sizes_without_a_meaning_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        EarthAdapter(1, 8, **options)
