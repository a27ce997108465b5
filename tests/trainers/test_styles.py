import pytest
import torch

from crossearth.errors import ConfigError
from crossearth.synthetic import SyntheticEarth
from crossearth.trainers import fourier_style, fourier_style_of_earth


def test_styles_of_the_earth_are_those_of_its_atlas(tmp_path):
    SyntheticEarth(0).write_style(tmp_path, images=3, size_px=160)
    from_files = fourier_style(tmp_path, p=1.0, alpha_range=(1.0, 1.0), seed=3)
    drawn = fourier_style_of_earth(images=3, p=1.0, alpha_range=(1.0, 1.0), seed=3)
    torch.testing.assert_close(drawn.amplitudes, from_files.amplitudes, rtol=0.01, atol=0.02)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    styled = drawn(images)
    assert (styled - from_files(images)).abs().max() < 0.01
    assert (styled - images).abs().amax((1, 2, 3)).min() > 0.02


def test_no_style_is_refused():
    with pytest.raises(ConfigError, match='images is 0'):
        fourier_style_of_earth(images=0)
