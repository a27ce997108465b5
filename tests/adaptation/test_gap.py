import pytest
import torch
from torch import nn

from crossearth.adaptation.gap import measure_gap
from crossearth.adaptation.norms import Norms
from crossearth.adaptation.windows import SceneWindows
from crossearth.errors import ConfigError, SceneError
from crossearth.imagery import Imagery
from crossearth.models import fpn_timm
from crossearth.models.source import SourceMeter

from .conftest import images


def shown(ones):
    return SceneWindows([], [(one, torch.ones(one.shape[1:], dtype=torch.bool)) for one in ones])


def test_the_source_itself_is_at_no_distance_and_other_light_is_at_some():
    torch.manual_seed(0)
    model = fpn_timm('resnet10t', num_classes=2, width=8).eval()
    ones = images(2, bands=3, side=64)
    meter = SourceMeter(model)
    for one in ones:
        meter.add_image(one)
    known = Imagery(source=meter.statistics(), gsd_m=0.5)
    own = measure_gap(model, shown(ones), known)
    assert max(own.bands) < 1e-9
    assert max(own.features) < 1e-4
    assert own.sharpness_ratio == pytest.approx(1)
    darker = measure_gap(model, shown([one / 2 for one in ones]), known)
    # halved uniform noise: mean .5 → .25 and deviation .289 → .144
    assert darker.bands[0] == pytest.approx(1.0, abs=0.02)
    assert min(darker.features) > 0.01
    assert darker.sharpness_ratio == pytest.approx(1, rel=1e-3)
    adapted = Norms(1.0).adapt(model, shown(ones[:1]))
    assert measure_gap(adapted, shown(ones[:1]), known).norm_distance < 1e-3
    assert own.norm_distance > 0.1


def test_what_older_files_do_not_say_is_not_known(windows):
    gap = measure_gap(nn.Conv2d(1, 2, 1).eval(), windows, Imagery())
    assert (gap.bands, gap.features, gap.sharpness_ratio, gap.norm_distance) == (None,) * 4
    assert gap.looks.mean[0] == pytest.approx(0.5, abs=0.05)


def test_scenes_with_other_bands_are_refused(windows):
    class Any(nn.Module):
        def forward(self, image):
            return torch.zeros(1, 2, *image.shape[-2:])

    meter = SourceMeter(Any())
    meter.add_image(torch.rand(3, 8, 8))
    with pytest.raises(ConfigError, match='the source has 3 bands, but the scenes have 1'):
        measure_gap(Any(), windows, Imagery(source=meter.statistics()))


def test_windows_that_fill_no_cell_of_a_feature_map_are_too_small():
    model = fpn_timm('resnet10t', num_classes=2, width=8).eval()
    with pytest.raises(SceneError, match='windows are at most 3 px across, too small for the mod'):
        measure_gap(model, shown(images(2, bands=3, side=3)), Imagery())
    assert measure_gap(model, shown(images(1, bands=3, side=24)), Imagery()).looks.windows == 1
