import pytest
import torch

from crossearth.resolution.views import as_sensor, centre, filled, resized, tells_something


def test_larger_pixels_keep_the_mean_and_lose_what_is_finer():
    stripes = torch.tensor([0.0, 1.0]).repeat(32)[None, None, :].expand(1, 64, 64)
    halved = resized(stripes, 2)
    assert halved.shape == (1, 32, 32)
    assert float(halved.std()) < 0.03
    assert float(halved.mean()) == pytest.approx(0.5, abs=1e-6)


def test_smaller_pixels_stay_in_the_range_of_values():
    edge = torch.cat([torch.zeros(1, 8, 4), torch.ones(1, 8, 4)], 2)
    doubled = resized(edge, 0.5)
    assert doubled.shape == (1, 16, 16)
    assert float(doubled.min()) >= 0
    assert float(doubled.max()) <= 1


def test_another_sensor_is_the_same_for_the_same_seed_only():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1))
    seen = [as_sensor(image, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert float(seen[0].min()) >= 0
    assert float(seen[0].max()) <= 1


def test_the_middle_of_an_image_is_cut_out():
    image = torch.arange(25.0).view(1, 5, 5)
    assert centre(image, 3)[0, 0].tolist() == [6, 7, 8]
    assert torch.equal(centre(image, 9), image)


def test_pixels_without_data_get_the_mean_unless_there_are_many():
    image = torch.full((1, 10, 10), 0.25)
    image[0, 0, 0] = 9.0
    valid = torch.ones(10, 10, dtype=torch.bool)
    valid[0, 0] = False
    assert filled(image, valid)[0, 0, 0] == 0.25
    valid[:2] = False
    assert filled(image, valid) is None


def test_flat_and_tiny_images_tell_nothing():
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert tells_something(noise)
    assert not tells_something(0.5 + 0.005 * noise)
    assert not tells_something(noise[:, :40])
