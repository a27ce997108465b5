import numpy as np
import pytest
from affine import Affine

from crossearth.resolution import KnownScene, fit_gsd_estimator
from tests.resolution.textures import texture, tiny_network


@pytest.fixture
def write_texture(write_raster):
    """Writes a texture as bytes, georeferenced at its distance or at none."""

    def write(name, gsd_m, *, seed, georeferenced=True, structure_m=4.0):
        image = texture(gsd_m, seed=seed, structure_m=structure_m)
        pixels = (image * 255).round().byte().numpy()
        place = Affine(gsd_m, 0, 400_000, 0, -gsd_m, 5_800_000)
        crs = 'EPSG:32633' if georeferenced else None
        return write_raster(name, np.ascontiguousarray(pixels), crs=crs, transform=place)

    return write


@pytest.fixture
def known_domains(write_texture):
    """Three domains of four scenes at 0.5, 1 and 2 m, all of the same ground."""
    return {
        f'{gsd_m:g} m': [
            KnownScene(str(write_texture(f'{gsd_m:g}/{i}.tif', gsd_m, seed=10 * k + i)))
            for i in range(4)
        ]
        for k, gsd_m in enumerate((0.5, 1.0, 2.0))
    }


@pytest.fixture
def fitted(known_domains):
    network = tiny_network()
    return network, fit_gsd_estimator(network, known_domains)
