import numpy as np
import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.models import MixStyle, attach, fpn_timm
from crossearth.models.mix_style import mix_statistics


def plain_mix(x: np.ndarray, order: list[int], share: list[float]) -> np.ndarray:
    """Channel by channel, in loops."""
    mixed = np.empty_like(x)
    for i, (j, own) in enumerate(zip(order, share, strict=True)):
        for c in range(x.shape[1]):
            mu, other = x[i, c].mean(), x[j, c].mean()
            sd = np.sqrt(x[i, c].var(ddof=1) + 1e-6)
            other_sd = np.sqrt(x[j, c].var(ddof=1) + 1e-6)
            gamma, beta = own * sd + (1 - own) * other_sd, own * mu + (1 - own) * other
            mixed[i, c] = gamma * (x[i, c] - mu) / sd + beta
    return mixed


def test_statistics_are_mixed_as_the_formula_says_in_both_layouts():
    x = torch.randn(4, 3, 5, 6, dtype=torch.float64)
    order, share = torch.tensor([2, 0, 3, 1]), torch.tensor([0.1, 0.9, 0.5, 0.0])
    expected = plain_mix(x.numpy(), order.tolist(), share.double().tolist())
    assert np.abs(mix_statistics(x, order, share).numpy() - expected).max() < 1e-12
    last = mix_statistics(x.movedim(1, -1), order, share, channels_last=True)
    assert np.abs(last.movedim(-1, 1).numpy() - expected).max() < 1e-12
    tokens = mix_statistics(x.flatten(2).mT, order, share, channels_last=True)
    assert np.abs(tokens.mT.reshape(x.shape).numpy() - expected).max() < 1e-12


def test_gradients_pass_by_the_statistics():
    x = torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    mix_statistics(x, torch.tensor([1, 0]), torch.tensor([0.0, 0.0])).sum().backward()
    spread = (x.detach().var((2, 3)) + 1e-6).sqrt().flatten()
    expected = (spread[[1, 0]] / spread).view(2, 1, 1, 1).expand_as(x)
    assert torch.allclose(x.grad, expected)


def test_shares_follow_the_beta_distribution_and_batches_are_mixed_with_probability_p():
    mix = MixStyle(p=0.3, alpha=0.1, generator=torch.Generator().manual_seed(0))
    flat = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    changed, shares = 0, []
    for _ in range(3000):
        mixed = mix(flat)[:, 0, 0, 0]
        changed += bool((mixed != flat[:, 0, 0, 0]).any())
        if mixed[0] != 0:  # swapped: image 0 holds 1 − λ
            shares.append(float(mixed[0]))
    # swapped in half of the drawn batches; λ rounds to 1 now and then
    assert changed / 3000 == pytest.approx(0.15, abs=0.03)
    # Beta(α, α): variance 1 / (4·(2α + 1)) around one half; shares that are exactly 0 are left out
    assert np.mean(shares) == pytest.approx(0.5, abs=0.07)
    assert np.var(shares) == pytest.approx(1 / 4.8, abs=0.03)


def test_a_generator_repeats_it_and_the_global_one_is_left_alone():
    x = torch.randn(4, 2, 3, 3)
    before = torch.get_rng_state()
    pair = [MixStyle(p=1.0, generator=torch.Generator().manual_seed(5))(x) for _ in range(2)]
    assert torch.equal(*pair)
    assert torch.equal(before, torch.get_rng_state())


def test_p_0_and_eval_mode_change_nothing_and_draw_nothing():
    x = torch.randn(1, 2, 3, 3)
    before = torch.get_rng_state()
    assert MixStyle(p=0.0)(x) is x
    assert MixStyle(p=1.0).eval()(x) is x
    assert torch.equal(before, torch.get_rng_state())


def test_features_that_cannot_be_mixed_are_refused():
    with pytest.raises(ConfigError, match=r'has 1 image.*: train with batch_size 2'):
        MixStyle()(torch.rand(1, 2, 3, 3))
    with pytest.raises(ShapeError, match=r'\(2, 5, 8\), expected maps .* channels_last=True'):
        MixStyle()(torch.rand(2, 5, 8))
    with pytest.raises(ShapeError, match=r'one place for each image, .* shallower stage'):
        MixStyle(p=1)(torch.rand(2, 4, 1, 1))
    with pytest.raises(ConfigError, match='alpha=0: expected'):
        MixStyle(alpha=0)


def test_on_a_stage_of_a_backbone_it_mixes_in_training_mode_only_and_leaves_no_trace():
    model = fpn_timm('resnet18', num_classes=2, width=8)
    for norm in model.modules():  # so that both modes compute the same
        if isinstance(norm, nn.BatchNorm2d):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = None
    image, keys = torch.rand(2, 3, 32, 32), list(model.state_dict())
    plain = model(image)
    handle = attach(model, 'backbone.model.layer1', MixStyle(p=1.0, alpha=1.0))
    assert (model.train()(image) - plain).abs().max() > 1e-3
    assert torch.equal(model.eval()(image), plain)
    assert list(model.state_dict()) == keys
    handle.remove()
    assert torch.equal(model.train()(image), plain)
