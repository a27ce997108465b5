import csv

import numpy as np
import pytest
import torch
from affine import Affine

from crossearth.cli import main
from crossearth.errors import ConfigError
from crossearth.models.weights.pretrained import create_timm
from tests.resolution.textures import texture

SMALL = 'mobilenetv3_small_050'


@pytest.fixture
def encoder(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / 'encoder.pth'
    torch.save(create_timm(SMALL).state_dict(), path)
    return ['--encoder', SMALL, '--pretrained', str(path)]


@pytest.fixture
def places(write_raster):
    """Folders of images at 1 m, georeferenced, and at 0.5 m, which nothing ties to the ground."""
    for index in range(5):
        for name, gsd_m, crs in (('far', 1.0, 'EPSG:32633'), ('near', 0.5, None)):
            pixels = (texture(gsd_m, seed=index, side=96) * 255).byte().numpy()
            place = Affine(gsd_m, 0, 400_000, 0, -gsd_m, 5_800_000)
            image = np.ascontiguousarray(pixels)
            write_raster(f'{name}/{index}.tif', image, crs=crs, transform=place)


def test_scenes_are_told_by_what_was_fitted(tmp_path, places, encoder, write_raster, capsys):
    write_raster('far/lake.tif', np.full((3, 96, 96), 9, np.uint8))
    estimator = str(tmp_path / 'gsd.safetensors')
    near = f'{tmp_path / "near"}=0.5'
    assert main(['gsd', str(tmp_path / 'far'), near, '--fit', estimator, *encoder]) == 0
    fitted = capsys.readouterr().out
    assert 'images of the same domains' in fitted
    assert fitted.splitlines()[1].split()[:4] == ['domain', 'blocks', 'bias', 'error']

    (tmp_path / 'far' / 'torn.tif').write_bytes(b'II*\0torn')
    table = tmp_path / 'table.csv'
    words = ['gsd', str(tmp_path / 'far'), '--estimator', estimator, '--csv', str(table)]
    assert main(words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8
    with table.open(newline='') as file:
        rows = {row['scene'].rsplit('/')[-1]: row for row in csv.DictReader(file)}
    assert rows['0.tif']['header_m'] == '1'
    assert 0.5 < float(rows['0.tif']['estimate_m']) < 2
    assert rows['lake.tif']['estimate_m'] == ''
    assert rows['lake.tif']['note'].startswith('no usable block')
    assert rows['torn.tif']['note'].startswith('not estimated: ')
    assert main([*words[:1], str(tmp_path / 'far' / 'torn.tif'), *words[2:4]]) == 2


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['a=far', '--fit', 'x'], 'expected FOLDER=METRES'),
        (['a=-1', '--fit', 'x'], 'above 0'),
        (['a', '--fit', 'x', '--csv', 'y'], '--csv is for estimates'),
        (['a', '--estimator', 'x', '--encoder', 'y'], 'are for --fit'),
        (['a', '--estimator', 'nowhere'], 'no estimator at nowhere'),
    ],
)
def test_what_makes_no_sense_is_one_line(words, message, capsys):
    assert main(['gsd', *words]) == 2
    assert message in capsys.readouterr().err


def test_a_distance_or_an_estimator_that_is_not_there_is_told(tmp_path, places, capsys):
    near = str(tmp_path / 'near')
    assert main(['gsd', f'{near}=0.5', '--estimator', 'none.safetensors']) == 2
    assert f'=METRES is for --fit: pass {near} alone' in capsys.readouterr().err
    assert main(['gsd', near, '--estimator', 'none.safetensors']) == 2
    assert 'no estimator at none.safetensors: write one with' in capsys.readouterr().err


def test_a_domain_named_twice_is_refused(tmp_path, places, capsys):
    far = str(tmp_path / 'far')
    assert main(['gsd', far, f'{far}=1', '--fit', 'x']) == 2
    assert 'named twice' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'pretrained'),
    [([], 'installed'), (['--encoder', SMALL], True), (['--pretrained', 'mine.pth'], 'mine.pth')],
)
@pytest.mark.usefixtures('places')
def test_weights_that_are_installed_are_not_downloaded(monkeypatch, tmp_path, words, pretrained):
    asked = []

    def network(name, *, pretrained):
        asked.append(pretrained)
        raise ConfigError('enough')

    monkeypatch.setattr('crossearth.resolution.gsd_network', network)
    assert main(['gsd', str(tmp_path / 'far'), '--fit', str(tmp_path / 'e'), *words]) == 2
    assert asked == [pretrained]
