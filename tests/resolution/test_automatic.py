import logging
import pickle

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from crossearth.errors import CheckpointError, ConfigError
from crossearth.imagery import Imagery
from crossearth.inference import View, predict_scene
from crossearth.inference.seeing import see_scene
from crossearth.rasters import describe_raster
from crossearth.resolution import (
    AutomaticGsd,
    estimate_gsd,
    fit_gsd_estimator,
    gsd_network,
    save_gsd_estimator,
)
from tests.resolution.textures import texture


@pytest.fixture(scope='module')
def network(known_domains):
    torch.manual_seed(0)
    network = gsd_network('mobilenetv3_small_050')
    fit_gsd_estimator(network, known_domains)
    return network


@pytest.fixture
def automatic(network, tmp_path):
    return AutomaticGsd(save_gsd_estimator(network, tmp_path / 'gsd.safetensors'))


@pytest.fixture
def untied(tmp_path):
    """A texture at 1 m that nothing ties to the ground."""
    path = tmp_path / 'untied.png'
    pixels = (texture(1.0, seed=77, side=300) * 255).round().byte().numpy()
    size = {'count': 3, 'height': pixels.shape[1], 'width': pixels.shape[2], 'dtype': 'uint8'}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path, 'w', driver='PNG', **size) as file,
    ):
        file.write(np.ascontiguousarray(pixels))
    return path


def test_a_scene_is_seen_at_what_its_pixels_say(network, automatic, untied, tmp_path, caplog):
    estimate = estimate_gsd(network, untied)
    expected, low, high = estimate.gsd_m, estimate.low_m, estimate.high_m
    torch.manual_seed(0)
    model = nn.Conv2d(3, 2, 1).eval()
    with caplog.at_level(logging.INFO, 'crossearth'):
        made = predict_scene(
            model, untied, tmp_path / 'map.tif', view=View(gsd_m=3.0, scene_gsd_m=automatic)
        )
    assert made.seen == (
        f'own pixels {expected:.3g} m (estimated from its pixels, probably {low:.3g} to '
        f'{high:.3g} m), seen at 3 m: as asked'
    )
    assert made.seen in caplog.text
    stated = tmp_path / 'stated.tif'
    predict_scene(model, untied, stated, view=View(gsd_m=3.0, scene_gsd_m=expected))
    assert stated.read_bytes() == (tmp_path / 'map.tif').read_bytes()


def test_it_travels_to_other_processes(automatic, untied):
    again = pickle.loads(pickle.dumps(automatic))
    assert again.name == automatic.name
    assert again(describe_raster(untied)) == automatic(describe_raster(untied))


def test_what_tells_nothing_is_refused(automatic, tmp_path, write_raster):
    flat = write_raster('flat.tif', np.full((3, 96, 96), 9, np.uint8), crs=None)
    with pytest.raises(ConfigError, match=r'flat\.tif: .*cannot be estimated .*--gsd METRES'):
        see_scene(flat, Imagery(), View(scene_gsd_m=automatic))
    with pytest.raises(CheckpointError, match='crossearth gsd --fit'):
        AutomaticGsd(tmp_path / 'nowhere.safetensors')
