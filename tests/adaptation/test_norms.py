import copy

import pytest
import torch
from torch import nn

from crossearth.adaptation.entropy import Tent
from crossearth.adaptation.method import averaging_norms
from crossearth.adaptation.norms import Norms
from crossearth.adaptation.self_training import PseudoLabels
from crossearth.adaptation.windows import SceneWindows
from crossearth.errors import ConfigError
from crossearth.models import hrda_mit_b5

from .conftest import images


def test_the_first_norm_gets_the_moments_of_all_pixels_with_data():
    """Windows of different sizes, one half empty: no window counts more than its pixels."""
    ones = [torch.rand(1, 8, 8), torch.rand(1, 4, 12) * 3]
    valid = [torch.ones(8, 8, dtype=torch.bool), torch.ones(4, 12, dtype=torch.bool)]
    valid[0][:, 4:] = False
    pixels = torch.cat([one[0][seen] for one, seen in zip(ones, valid, strict=True)]).double()
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 1)).eval()
    windows = SceneWindows([], list(zip(ones, valid, strict=True)))
    for alpha in (1.0, 0.25):
        norm = Norms(alpha).adapt(model, windows)[0]
        mean, var = alpha * pixels.mean(), (1 - alpha) + alpha * pixels.var(correction=0)
        torch.testing.assert_close(norm.running_mean.double(), mean[None], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(norm.running_var.double(), var[None], atol=1e-6, rtol=1e-6)


def test_with_one_window_every_norm_is_adapted_to_what_really_comes_in():
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(4) for _ in range(3)]
    layers = [layer for norm in norms for layer in (nn.LazyConv2d(4, 3), norm, nn.ReLU())]
    model = nn.Sequential(*layers, nn.Conv2d(4, 2, 1)).eval()
    (image,) = images(1)
    model(image[None])
    windows = SceneWindows([], [(image, torch.ones(16, 16, dtype=torch.bool))])
    adapted = Norms(1.0).adapt(model, windows)
    with torch.no_grad():
        for end in (2, 5, 8):
            out = adapted[:end](image[None])
            torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
            torch.testing.assert_close(
                out.var((0, 2, 3), correction=0), torch.ones(4), atol=1e-2, rtol=0
            )


def test_a_share_of_nothing_is_the_model_as_it_was(model, windows):
    adapted = Norms(0.0).adapt(model, windows)
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in adapted.state_dict().items())


def test_the_model_that_was_given_stays_as_it_was_and_only_statistics_change(model, windows):
    before = copy.deepcopy(model.state_dict())
    adapted = Norms(0.5).adapt(model, windows)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    changed = {
        name for name, value in adapted.state_dict().items() if not torch.equal(before[name], value)
    }
    assert changed == {'1.running_mean', '1.running_var'}
    assert not adapted[1]._forward_pre_hooks


@pytest.mark.parametrize('method', [Norms(0.5), Tent(steps=1), PseudoLabels(steps=1)])
def test_details_of_hrda_whose_place_is_unknown_do_not_count(method):
    torch.manual_seed(0)
    model = hrda_mit_b5(2, encoder='mit_b0', img_size=128, width=8).eval()
    valid = torch.ones(100, 130, dtype=torch.bool)
    valid[:, 64:] = False
    windows = SceneWindows([], [(torch.rand(3, 100, 130), valid)])
    adapted = method.adapt(model, windows)
    norms = averaging_norms(adapted)
    assert norms
    assert all(norm.running_mean.isfinite().all() for norm in norms.values())


def test_models_without_batch_norms_are_told_what_to_choose(windows):
    with pytest.raises(ConfigError, match=r'no batch norms.*choose --method tent'):
        Norms().adapt(nn.Sequential(nn.Conv2d(1, 2, 1), nn.GroupNorm(1, 2)), windows)


@pytest.mark.parametrize('alpha', [-0.1, 1.1, float('nan')])
def test_shares_out_of_range_are_refused(alpha):
    with pytest.raises(ConfigError, match=r'expected 0 \(source\) to 1 \(scenes\)'):
        Norms(alpha)
