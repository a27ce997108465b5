import numpy as np
import pytest
import rasterio
from affine import Affine

from crossearth.resolution import KnownScene, fit_gsd_estimator
from tests.resolution.textures import texture, tiny_network


def write_scene(path, gsd_m, *, seed, structure_m=4.0):
    """A texture as bytes, georeferenced at its distance."""
    image = texture(gsd_m, seed=seed, structure_m=structure_m)
    pixels = (image * 255).round().byte().numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Affine(gsd_m, 0, 400_000, 0, -gsd_m, 5_800_000)
    size = {'count': 3, 'height': pixels.shape[1], 'width': pixels.shape[2], 'dtype': 'uint8'}
    with rasterio.open(
        path, 'w', driver='GTiff', crs='EPSG:32633', transform=place, **size
    ) as file:
        file.write(np.ascontiguousarray(pixels))
    return KnownScene(str(path))


@pytest.fixture(scope='session')
def known_domains(tmp_path_factory):
    """Three domains of four scenes at 0.5, 1 and 2 m, all of the same ground."""
    folder = tmp_path_factory.mktemp('known')
    return {
        f'{gsd_m:g} m': [
            write_scene(folder / f'{gsd_m:g}' / f'{index}.tif', gsd_m, seed=10 * number + index)
            for index in range(4)
        ]
        for number, gsd_m in enumerate((0.5, 1.0, 2.0))
    }


@pytest.fixture(scope='session')
def fitted(known_domains):
    network = tiny_network()
    return network, fit_gsd_estimator(network, known_domains)
