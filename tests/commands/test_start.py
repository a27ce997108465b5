"""From folders to a map in three commands, on chips of a few dozen pixels."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import timm
import yaml
from affine import Affine
from PIL import Image
from safetensors.torch import save_file

from crossearth.cli import main
from crossearth.errors import WriteError
from crossearth.labels import IGNORE_INDEX
from crossearth.models import read_model_info
from crossearth.models.weights import pretrained
from crossearth.survey import recipe, run
from crossearth.trainers import build_training, read_recipe

SIDE = 48
PLACE = {'crs': 'EPSG:32633', 'corner': (500_000, 5_000_000)}
ELSEWHERE = {'crs': 'EPSG:32618', 'corner': (400_000, 4_500_000)}
rng = np.random.default_rng(0)


@pytest.fixture(scope='module')
def tiny_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'resnet10t.safetensors'
    save_file(timm.create_model('resnet10t').state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path, tiny_weights):
    """A working folder, the smallest backbone, and two steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, 'BACKBONE', 'resnet10t')
    monkeypatch.setattr(pretrained, 'installed_weights', lambda _: tiny_weights)
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


@pytest.mark.filterwarnings('ignore')  # lightning's notices about short training runs
@pytest.mark.parametrize('case', CASES)
@pytest.mark.slow
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
    assert 'other: not tested' not in said
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
    data = build_training(without_style('recipe.yaml')).data
    seen = []
    for portion in (data.train, data.val):
        for i, scene in enumerate(portion.scenes):
            number = int(Path(scene.image).stem)
            seen.append(number)
            found = portion.read_labels(portion.whole(i))
            expected = truth(number, count=count)
            if case == 'colour':  # green comes before red
                expected = np.array([0, 2, 1], np.uint8)[expected]
            wrong = (found != expected) & (found != IGNORE_INDEX)
            # the corners of polygons that were moved to degrees and back lie on pixel borders
            assert wrong.mean() <= (0.03 if case == 'polygons' else 0), number
    assert sorted(seen) == list(range(12))  # each chip on one side, none lost
    assert 2 <= len(data.val) <= 4
    sample = data.train[0]['image']
    assert 0.5 < float(sample.max()) <= 1.0


def without_style(path: str) -> dict[str, Any]:
    """The recipe, without the images that its style would draw for tens of seconds."""
    recipe = read_recipe(path)
    recipe['model']['init_args']['method']['init_args'].pop('style', None)
    return recipe


def refused(capsys, *words: str) -> str:
    """What `start` says when it refuses; it writes nothing."""
    assert main(['start', *words, '--quiet']) == 2
    assert not Path('recipe.yaml').exists()
    return capsys.readouterr().err


def test_masks_of_one_class_are_refused(capsys):
    write_place('roads', PLACE, lambda labels: as_0_255(labels * 0))
    said = refused(capsys, 'roads/images', 'roads/masks')
    assert 'all labelled pixels of the masks have the value 0: expected at least two' in said


def test_masks_in_which_all_is_ignored_are_refused(capsys):
    write_place('roads', PLACE, lambda labels: {'pixels': labels * 0})
    said = refused(capsys, 'roads/images', 'roads/masks', '--ignore', '0')
    assert 'every pixel of the masks is ignored (0 is ignored, as asked for)' in said


def test_images_and_masks_without_a_name_in_common_are_refused(capsys):
    write_place('roads', PLACE, as_0_255, chips=3)
    for path in Path('roads/masks').iterdir():
        path.rename(path.with_stem(f'{int(path.stem) + 100}'))
    said = refused(capsys, 'roads/images', 'roads/masks')
    assert 'none of 3 images has a mask in roads/masks, which holds 3: expected names' in said


def test_images_without_masks_are_refused(capsys):
    write_place('roads', PLACE, None, chips=3)
    said = refused(capsys, 'roads/images')
    assert 'none were given: pass them with crossearth start roads/images' in said


def test_images_that_differ_in_their_bands_are_refused_with_the_option_that_helps(capsys):
    write_place('roads', PLACE, as_0_255)
    put('roads/images/3.tif', chip(truth(3), bands=4), PLACE, 3)
    said = refused(capsys, 'roads/images', 'roads/masks')
    assert '11 have 3 (roads/images/0.tif), 1 have 4 (roads/images/3.tif)' in said
    assert '--bands 1 2 3' in said
    words = ['start', 'roads/images', 'roads/masks', '--quiet', '--bands', '1', '2', '3']
    assert main(words) == 0
    assert 'bands: [1, 2, 3]' in Path('recipe.yaml').read_text()


def test_features_that_lie_elsewhere_are_refused(capsys):
    write_polygons('roads', PLACE)
    write_place('other', ELSEWHERE, None)
    said = refused(capsys, 'other/images', 'roads/roads.geojson')
    assert 'its features touch none of 12 images in other/images' in said


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_one_small_image_is_refused(capsys):
    Path('images').mkdir()
    Path('masks').mkdir()
    for kind, pixels in (('images', chip(truth(0))[:, :40]), ('masks', truth(0)[None, :40])):
        with rasterio.open(
            f'{kind}/a.png',
            'w',
            driver='PNG',
            count=len(pixels),
            height=40,
            width=48,
            dtype='uint8',
        ) as target:
            target.write(pixels)
    said = refused(capsys, 'images', 'masks')
    assert '1 image of 40 rows is too little' in said


def test_a_recipe_that_exists_is_not_replaced(capsys):
    write_place('roads', PLACE, as_0_255, chips=3)
    Path('recipe.yaml').write_text('mine')
    assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 2
    assert 'recipe.yaml exists and is not replaced' in capsys.readouterr().err
    assert Path('recipe.yaml').read_text() == 'mine'


def test_a_recipe_in_a_folder_that_does_not_exist_is_refused_before_images_are_read(capsys):
    said = refused(capsys, 'nowhere/images', 'nowhere/masks', '-o', 'missing/recipe.yaml')
    assert 'the folder missing does not exist: create it first' in said


def test_a_recipe_is_written_before_that_is_said(capsys, monkeypatch):
    write_place('roads', PLACE, as_0_255)
    monkeypatch.setattr(run, 'write_text', refuse_to_write)
    assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 2
    said = capsys.readouterr()
    assert 'the disk is full' in said.err
    assert 'is written' not in said.out
    assert not Path('recipe.yaml').exists()


def refuse_to_write(path: Path, text: str) -> None:
    raise WriteError('the disk is full')


def test_two_places_with_one_name_are_refused_before_images_are_read(capsys):
    words = ['--unseen', 'north=a', '--unseen', 'north=b']
    assert '2 places are named north: give each its own name' in refused(capsys, 'nowhere', *words)


@pytest.mark.parametrize('word', ['ottawa', 'ottawa=', '=images', 'source=images'])
def test_an_unseen_place_needs_a_name_and_a_folder(capsys, word):
    write_place('roads', PLACE, as_0_255, chips=3)
    said = refused(capsys, 'roads/images', 'roads/masks', '--unseen', word)
    assert f'--unseen {word}: expected NAME=IMAGES or NAME=IMAGES:MASKS' in said


def test_files_that_cannot_be_used_are_told_and_left_out(capsys):
    write_place('roads', PLACE, as_0_255)
    Path('roads/images/0.tif').write_bytes(b'')  # empty
    whole = Path('roads/images/1.tif').read_bytes()
    Path('roads/images/1.tif').write_bytes(whole[: len(whole) // 2])  # truncated
    put('roads/images/2.tif', np.zeros((3, SIDE, SIDE), np.uint8), PLACE, 2)  # blank
    put('roads/masks/3.tif', as_0_255(truth(3)[:20])['pixels'], ELSEWHERE, 3)  # elsewhere
    Path('roads/masks/4.tif').unlink()
    assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 0
    said = capsys.readouterr().out
    assert '7 of 12 images' in said
    assert 'without a mask, left out: 1: 4.tif' in said
    for name, reason in (
        ('0.tif', 'not a readable raster'),
        ('2.tif', 'has no data in its middle and in its last row'),
        ('3.tif', 'pair each image with a mask of the same place'),
    ):
        (line,) = (line for line in said.splitlines() if line.startswith(f'  ! {name}: '))
        assert reason in line
    assert '  ! 1.tif: ' in said
    values = yaml.safe_load(Path('recipe.yaml').read_text())
    train = values['data']['init_args']['train']['init_args']
    assert sorted(train['leave_out']) == ['0.tif', '1.tif', '2.tif', '3.tif']
    assert train['unpaired'] == 'skip'
    data = build_training(without_style('recipe.yaml')).data
    assert len({*data.train.paths, *data.val.paths}) == 7


def test_the_report_names_the_line_of_each_assumption(capsys):
    write_place('roads', PLACE, as_0_255)
    assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 0
    said = capsys.readouterr().out
    lines = Path('recipe.yaml').read_text().splitlines()
    for words, key in (
        ('masks: 0 is background, 255 the one class', 'codec:'),
        ('classes are called background, road', 'classes: [background, road]'),
        ('blocks on the ground', 'hold_out:'),
        ('with the ImageNet weights that come with crossearth', 'model:'),
        ('2 steps of 4 windows', 'max_steps: 2'),
    ):
        (told,) = (line for line in said.splitlines() if line.startswith('line') and words in line)
        assert lines[int(told.split()[1]) - 1].strip().startswith(key)


def test_images_with_a_transform_and_no_crs_are_told_what_to_add(capsys):
    write_place('roads', {**PLACE, 'crs': None}, as_0_255)
    assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 0
    said = capsys.readouterr().out
    assert 'some have a transform without a CRS: add crs, such as crs: EPSG:32633' in said
    text = Path('recipe.yaml').read_text()
    indent = next(line for line in text.splitlines() if 'images: roads/images' in line)
    indent = indent[: -len(indent.lstrip())]
    line = 'images: roads/images\n'
    Path('recipe.yaml').write_text(text.replace(line, f'{line}{indent}crs: EPSG:32633\n', 1))
    assert build_training(without_style('recipe.yaml')).data.gsd_m == pytest.approx(0.5, rel=0.01)


def test_metres_that_are_said_to_be_degrees_are_told(capsys):
    write_place('roads', {**PLACE, 'crs': 'EPSG:4326'}, as_0_255)
    assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 0
    said = capsys.readouterr().out
    assert 'pixel size unknown, because some images have no place on the ground' in said
    assert 'put it nowhere on the globe: correct them (gdal_edit.py -a_srs)' in said


def test_a_place_that_lies_on_the_source_and_one_of_other_classes_are_told(capsys):
    write_place('roads', PLACE, as_0_255)
    write_place('near', PLACE, as_ids_from_1, count=3)
    words = ['--unseen', 'near=near/images:near/masks', '--unseen', 'bare=near/images', '--quiet']
    assert main(['start', 'roads/images', 'roads/masks', *words]) == 0
    said = capsys.readouterr().out
    assert 'near: 12 of its images overlap the source on the ground' in said
    assert 'near: not tested, because its labels do not match: ids from 1' in said
    assert 'bare: not tested, because it has no masks: map it with predict' in said


def test_masks_in_a_folder_among_the_images_are_no_images(capsys):
    write_place('roads', PLACE, as_0_255)
    assert main(['start', 'roads', 'roads/masks', '--quiet', '--output', 'a.yaml']) == 0
    assert main(['start', 'roads', '--quiet', '--output', 'b.yaml']) == 0
    assert capsys.readouterr().out.count(': 12 of 12 images\n') == 2
    for name in ('a.yaml', 'b.yaml'):
        data = build_training(without_style(name)).data
        assert len(data.train) + len(data.val) == 12


def test_one_folder_given_for_images_and_masks_holds_both():
    write_place('roads', PLACE, as_0_255)
    for path in sorted(Path('roads/masks').iterdir()):
        path.rename(f'roads/images/{path.stem}_mask.tif')
    assert main(['start', 'roads/images', 'roads/images/', '--quiet']) == 0
    data = build_training(without_style('recipe.yaml')).data
    assert len(data.train) + len(data.val) == 12


def test_a_file_given_for_the_folder_of_the_masks_is_named(capsys):
    write_place('roads', PLACE, as_0_255, chips=3)
    said = refused(capsys, 'roads/images', 'roads/masks/0.tif')
    assert 'roads/masks/0.tif is a file: pass the folder of the masks, or a vector file' in said


def test_paths_that_yaml_could_take_for_something_else_are_read(capsys):
    write_place('road 1: north', PLACE, as_0_255)
    words = ['road 1: north/images', 'road 1: north/masks', '--output', 'north 1.yaml', '--quiet']
    assert main(['start', *words]) == 0
    assert "crossearth fit --config 'north 1.yaml'" in capsys.readouterr().out
    data = build_training(without_style('north 1.yaml')).data
    assert len(data.train) + len(data.val) == 12


def test_an_unseen_place_of_0_and_255_is_not_taken_for_one_class_and_ignored_pixels(capsys):
    def with_ignored(labels):
        return {'pixels': np.where(np.arange(SIDE) < 4, 255, labels).astype(np.uint8)}

    write_place('roads', PLACE, with_ignored)
    write_place('other', ELSEWHERE, as_0_255)
    words = ['--unseen', 'other=other/images:other/masks', '--quiet']
    assert main(['start', 'roads/images', 'roads/masks', *words]) == 0
    assert 'other: masks differ: 0 is background, 255 the one class' in capsys.readouterr().out
    data = build_training(without_style('recipe.yaml')).data.tests['other']
    number = int(Path(data.scenes[0].image).stem)
    found = data.read_labels(data.whole(0))
    known = found != IGNORE_INDEX
    assert known.mean() > 0.9
    assert (found[known] == 1).mean() == pytest.approx(truth(number).mean(), abs=0.1)


def test_windows_are_read_around_the_source_s_pixel_size_and_an_unseen_place_beyond_at_it():
    write_place('roads', PLACE, as_0_255)
    write_place('other', ELSEWHERE, as_0_255)
    for path in Path('other').rglob('*.tif'):
        with rasterio.open(path, 'r+') as target:
            target.transform @= Affine.scale(0.5)
    words = ['--unseen', 'other=other/images:other/masks', '--quiet']
    assert main(['start', 'roads/images', 'roads/masks', *words]) == 0
    data = build_training(without_style('recipe.yaml')).data
    assert data.gsd_m == pytest.approx(0.5, rel=1e-3)
    assert data.gsd_range_m == pytest.approx((0.5 / 1.5, 0.75), rel=1e-2)
    assert data.drawn == {'gsd_m': data.gsd_range_m}
    assert data.seen_tests['other'].gsd_range_m == pytest.approx((0.5, 0.5), rel=1e-2)
    assert data.seen_tests['other'].scenes[0].width == pytest.approx(SIDE / 2, abs=2)
    assert data.seen_tests['source'].scenes[0].width == SIDE


def test_no_window_is_drawn_far_finer_than_the_coarsest_image():
    write_place('roads', PLACE, as_0_255)
    for path in ('roads/images/0.tif', 'roads/masks/0.tif'):
        with rasterio.open(path, 'r+') as target:
            target.transform = Affine(25, 0, 600_000, 0, -25, 5_100_000)
    assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 0
    low, high = yaml.safe_load(Path('recipe.yaml').read_text())['data']['init_args']['gsd_m']
    assert (low, high) == (pytest.approx(25 / 50, rel=0.02), 37.5)
    build_training(without_style('recipe.yaml'))  # which refuses finer ones


def test_a_place_of_unknown_pixel_size_is_mapped_with_a_stated_one(capsys):
    write_place('roads', PLACE, as_0_255)
    Path('plain').mkdir()
    for number in range(2):
        Image.fromarray(chip(truth(number)).transpose(1, 2, 0)).save(f'plain/{number}.png')
    words = ['--unseen', 'plain=plain', '--quiet', '-o', 'r.yaml']
    assert main(['start', 'roads/images', 'roads/masks', *words]) == 0
    text = capsys.readouterr().out
    assert 'plain: not tested, because it has no masks' in text
    assert 'Its pixel size is not known: state it there (--gsd METRES)' in text
    assert 'plain/0.png map.tif --weights model.safetensors --gsd METRES' in text


def test_a_damaged_image_and_a_spare_mask_next_to_the_images_leave_the_recipe_readable():
    write_place('roads', PLACE, as_0_255)
    for path in sorted(Path('roads/masks').iterdir()):
        path.rename(f'roads/images/{path.stem}_mask.tif')
    Path('roads/images/3.tif').unlink()
    Path('roads/images/5.tif').write_bytes(b'')
    assert main(['start', 'roads/images', '--quiet']) == 0
    data = build_training(without_style('recipe.yaml')).data
    assert len({*data.train.paths, *data.val.paths}) == 10


def test_a_bright_roof_outside_of_the_samples_does_not_stop_training():
    """The middle of the images holds reflectances up to 1, and a corner a value of 1.3."""
    for number in range(6):
        labels = np.kron(truth(number), np.ones((8, 8), np.uint8))
        pixels = np.broadcast_to(np.linspace(0, 1, labels.shape[1]), (3, *labels.shape)).copy()
        pixels[:, :8, :8] = 1.3
        put(f'roads/images/{number}.tif', pixels.astype(np.float32), PLACE, 16 * number)
        put(f'roads/masks/{number}.tif', labels * 255, PLACE, 16 * number)
    assert main(['start', 'roads/images', 'roads/masks', '--quiet']) == 0
    data = build_training(without_style('recipe.yaml')).data
    assert float(data.train[0]['image'].max()) == 1.0


@pytest.mark.parametrize('unseen', [False, True])
def test_a_local_crs_has_no_ground_that_others_could_share(capsys, unseen):
    local = {**PLACE, 'crs': 'LOCAL_CS["Local Coordinates (m)",UNIT["metre",1]]'}
    write_place('roads', local, as_0_255)
    write_place('other', ELSEWHERE, as_0_255)
    words = ['--unseen', 'other=other/images:other/masks'] if unseen else []
    assert main(['start', 'roads/images', 'roads/masks', '--quiet', *words]) == 0
    assert 'overlap the source' not in capsys.readouterr().out
    data = build_training(without_style('recipe.yaml')).data
    assert len(data.train) + len(data.val) == 12


@pytest.mark.parametrize(('alpha', 'bands'), [('mask', '[1, 2, 3]'), ('image', '[1, 2, 3, 4]')])
def test_a_band_that_may_be_alpha_is_what_the_user_says(capsys, alpha, bands):
    write_place('roads', PLACE, None)
    for number in range(12):
        pixels = chip(truth(number), bands=4)
        pixels[3] = np.where(np.arange(SIDE) < 30, 255, np.arange(SIDE))
        put(f'roads/images/{number}.tif', pixels, PLACE, number)
        put(f'roads/masks/{number}.tif', as_0_255(truth(number))['pixels'], PLACE, number)
    said = refused(capsys, 'roads/images', 'roads/masks', '--bands', '1', '2', '3')
    assert '--alpha mask' in said
    assert main(['start', 'roads/images', 'roads/masks', '--quiet', '--alpha', alpha]) == 0
    assert f'bands: {bands}' in Path('recipe.yaml').read_text()
    data = build_training(without_style('recipe.yaml')).data
    assert data.train.num_bands == len(yaml.safe_load(bands))
