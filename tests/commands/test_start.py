"""From folders to a map in three commands, on chips of a few dozen pixels."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from crossearth.cli import main
from crossearth.labels import IGNORE_INDEX
from crossearth.models import read_model_info
from crossearth.survey import recipe, run
from crossearth.trainers import build_training, read_recipe

SIDE = 48
PLACE = {'crs': 'EPSG:32633', 'corner': (500_000, 5_000_000)}
ELSEWHERE = {'crs': 'EPSG:32618', 'corner': (400_000, 4_500_000)}
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    """A working folder, the smallest backbone, and two steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, 'BACKBONE', 'resnet10t')
    monkeypatch.setattr(run, '_is_cached', lambda _: False)
    monkeypatch.setattr(recipe, '_STEPS', (2, 2))
    monkeypatch.setattr(recipe, '_VALIDATIONS', 1)


def truth(number: int, *, count: int = 2) -> np.ndarray:
    """Classes in stripes, that lie elsewhere in each chip."""
    rows = np.arange(SIDE)[:, None] + 5 * number
    return np.broadcast_to(rows // 12 % count, (SIDE, SIDE)).astype(np.uint8)


def chip(labels: np.ndarray, *, bands: int = 3, dtype: str = 'uint8') -> np.ndarray:
    pixels = rng.integers(0, 60, (bands, *labels.shape)) + 80 * (labels[None] % 3)
    return (pixels * (12 if dtype == 'uint16' else 1)).astype(dtype)


def put(path: str, pixels: np.ndarray, place: dict, number: int, **profile: object) -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    x, y = place['corner']
    transform = Affine(0.5, 0, x + number % 4 * SIDE / 2, 0, -0.5, y - number // 4 * SIDE / 2)
    colours = profile.pop('colours', None)
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    with rasterio.open(
        file,
        'w',
        driver='GTiff',
        count=len(pixels),
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype,
        crs=place['crs'],
        transform=transform,
        **profile,
    ) as target:
        if colours:
            target.write_colormap(1, colours)
        target.write(pixels)


COLOURS = np.array([(0, 0, 0), (255, 0, 0), (0, 128, 0)], np.uint8)


def as_0_255(labels):
    return {'pixels': labels * 255}


def as_palette(labels):
    table = {i: (*map(int, colour), 255) for i, colour in enumerate(COLOURS)}
    return {'pixels': labels, 'colours': table}


def as_colour(labels):
    return {'pixels': COLOURS[labels].transpose(2, 0, 1)}


def as_ids_from_1(labels):
    return {'pixels': labels + 1}


def write_place(
    root: str, place: dict, encode: Callable, *, count: int = 2, chips: int = 12, **look: object
) -> None:
    for number in range(chips):
        labels = truth(number, count=count)
        put(f'{root}/images/{number}.tif', chip(labels, **look), place, number)
        if encode is not None:
            put(f'{root}/masks/{number}.tif', place=place, number=number, **encode(labels))


def write_polygons(root: str, place: dict) -> None:
    """Images, and stripes of class 1 as polygons in degrees."""
    write_place(root, place, None)
    features = []
    for path in sorted(Path(root, 'images').iterdir()):
        with rasterio.open(path) as source:
            shapes = rasterio.features.shapes(
                truth(int(path.stem)), truth(int(path.stem)) > 0, transform=source.transform
            )
            for shape, _ in shapes:
                moved = rasterio.warp.transform_geom(source.crs, 'EPSG:4326', shape)
                features.append({'type': 'Feature', 'properties': {}, 'geometry': moved})
    text = json.dumps({'type': 'FeatureCollection', 'features': features})
    Path(root, 'roads.geojson').write_text(text)


CASES = {
    '0/255': (as_0_255, 2, {}),
    'palette': (as_palette, 3, {}),
    'colour': (as_colour, 3, {}),
    'ids from 1': (as_ids_from_1, 3, {}),
    'uint16': (as_0_255, 2, {'dtype': 'uint16'}),
    '4 bands': (as_0_255, 2, {'bands': 4}),
    'polygons': (None, 2, {}),
}


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short trainings
@pytest.mark.parametrize('case', CASES)
def test_three_commands_lead_from_folders_to_a_map_of_another_place(case, capsys):
    encode, count, look = CASES[case]
    if case == 'polygons':
        write_polygons('roads', PLACE)
        labels = 'roads/roads.geojson'
        write_place('other', ELSEWHERE, as_0_255)
    else:
        write_place('roads', PLACE, encode, count=count, **look)
        write_place('other', ELSEWHERE, encode, count=count, **look)
        labels = 'roads/masks'
    words = ['start', 'roads/images', labels, '--unseen', 'other=other/images:other/masks']
    assert main([*words, '--quiet']) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert 'other is not tested' not in said
    commands = [line.split()[1:] for line in said.splitlines() if line.startswith('  crossearth')]
    assert [words[0] for words in commands] == ['fit', 'test', 'predict']
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err[-2000:]
    tested = capsys.readouterr().out
    assert 'other' in tested

    info = read_model_info('model.safetensors')
    assert info.labels is not None
    assert info.labels.num_classes == count
    assert info.bands == tuple(range(1, look.get('bands', 3) + 1))
    assert info.gsd_m == pytest.approx(0.5, rel=0.01)
    assert (info.value_range is not None) == (look.get('dtype') == 'uint16')
    shown = json.loads(
        subprocess.run(
            ['gdalinfo', '-json', 'map.tif'], check=True, capture_output=True, text=True
        ).stdout
        if shutil.which('gdalinfo')
        else '{}'
    )
    with rasterio.open('map.tif') as made, rasterio.open('other/images/0.tif') as scene:
        assert (made.crs, made.transform, made.shape) == (scene.crs, scene.transform, scene.shape)
        assert set(np.unique(made.read(1))) <= set(range(count))
        assert made.colormap(1)[1][:3] == info.labels.palette[1]
        assert shown.get('size', [SIDE, SIDE]) == [SIDE, SIDE]


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('case', CASES)
def test_what_is_read_by_the_recipe_is_the_truth(case):
    encode, count, look = CASES[case]
    if case == 'polygons':
        write_polygons('roads', PLACE)
        assert main(['start', 'roads/images', 'roads/roads.geojson', '--quiet']) == 0
    else:
        write_place('roads', PLACE, encode, count=count, **look)
        assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 0
    data = build_training(read_recipe('recipe.yaml')).data
    seen = []
    for portion in (data.train, data.val):
        for i, scene in enumerate(portion.scenes):
            number = int(Path(scene.image).stem)
            seen.append(number)
            found = portion.read_labels(portion.whole(i))
            expected = truth(number, count=count)
            wrong = (found != expected) & (found != IGNORE_INDEX)
            # the corners of polygons that were moved to degrees and back lie on pixel borders
            assert wrong.mean() <= (0.03 if case == 'polygons' else 0), number
    assert sorted(seen) == list(range(12))  # each chip on one side, none lost
    assert 2 <= len(data.val) <= 4
    sample = data.train[0]['image']
    assert 0.5 < float(sample.max()) <= 1.0
