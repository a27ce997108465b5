import pytest
import torch
from safetensors.torch import load_file

from crossearth.errors import ConfigError
from crossearth.synthetic import SyntheticEarth
from crossearth.trainers import fourier_style, fourier_style_of_earth, styles


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


def test_images_are_drawn_once_and_then_read_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('CROSSEARTH_CACHE', str(tmp_path))
    first = styles._drawn_styles.__wrapped__(2)
    (kept,) = tmp_path.rglob('*.safetensors')
    with monkeypatch.context() as patch:
        patch.setattr(SyntheticEarth, 'draw_style', None)
        assert torch.equal(styles._drawn_styles.__wrapped__(2), first)
    kept.write_bytes(kept.read_bytes()[:1000])
    assert torch.equal(styles._drawn_styles.__wrapped__(2), first)
    assert load_file(kept)['images'].shape == (2, 3, 160, 160)  # whole again


def test_images_are_drawn_where_nothing_can_be_kept(monkeypatch, tmp_path):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('CROSSEARTH_CACHE', str(tmp_path / 'file'))
    assert styles._drawn_styles.__wrapped__(1).shape == (1, 3, 128, 128)
