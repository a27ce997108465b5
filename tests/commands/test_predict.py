import argparse
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from crossearth.commands.predict import add_arguments, run
from crossearth.errors import CheckpointError, ConfigError, CrossEarthError, SceneError, ShapeError
from crossearth.inference import ModelOutput, Outputs, Running, View, Windows, predict_scene
from crossearth.inference.grid import Blend
from crossearth.inference.model_output import OutputKind
from crossearth.inference.network import Augment, Combine
from crossearth.inference.request import ReturnBy
from crossearth.inference.scene import OnReadError
from crossearth.labels import ISPRS
from crossearth.models import fpn_timm, load_model, program_digest, save_model
from crossearth.rasters import Alpha

type Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model(_model(), 'model.safetensors')


def _model() -> nn.Module:
    torch.manual_seed(0)
    return fpn_timm('resnet10t', num_classes=6, width=8)


def predict(*words: object, weights: str = 'model.safetensors') -> str:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    every = (*words, '--weights', weights, '--quiet')
    return run(parser.parse_args([str(word) for word in every]))


def random_image(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (3, height, width), np.uint8)


def size_of(path: Path) -> tuple[int, int]:
    with rasterio.open(path) as dataset:
        return dataset.shape


def test_command_does_what_the_function_does(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('scene.tif', random_image(200, 300))
    text = predict(
        scene, tmp_path / 'a.tif', '--tile-px', 96, '--labels', 'isprs', '--blend', 'gaussian',
        '--value-range', 0, 200, '--confidence', tmp_path / 'c.tif', '--stac',
    )  # fmt: skip
    made = predict_scene(
        load_model('model.safetensors'),
        scene,
        tmp_path / 'b.tif',
        labels=ISPRS,
        windows=Windows(tile_px=96, blend='gaussian'),
        view=View(value_range=(0, 200)),
    )
    assert (tmp_path / 'a.tif').read_bytes() == made.path.read_bytes()
    assert text.startswith(f'{tmp_path / "a.tif"}: 300 × 200 px, {made.windows} windows in ')
    assert size_of(tmp_path / 'c.tif') == (200, 300)
    item = json.loads((tmp_path / 'a.tif.stac.json').read_text())
    assert item['assets']['scene']['href'] == './scene.tif'
    assert item['properties']['crossearth:model_id'] == program_digest('model.safetensors')


def test_every_value_can_be_set_with_the_choices_that_it_has() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = {action.dest: action for action in parser._actions}
    kinds = (Windows, View, Outputs, Running, ModelOutput)
    names = {field.name for kind in kinds for field in fields(kind)}
    assert names <= options.keys()
    for name, choices in {
        'blend': Blend.__value__,
        'combine': Combine.__value__,
        'augment': Augment.__value__,
        'return_by': ReturnBy.__value__,
        'on_read_error': OnReadError.__value__,
        'alpha': Alpha,
        'kind': OutputKind.__value__,
    }.items():
        assert tuple(options[name].choices or ()) == get_args(choices)
    for kind in kinds:
        for field in fields(kind):
            if field.name != 'device':  # cpu: the model is moved there
                told = options[field.name].default
                assert told is None or told == field.default


def test_bands_and_values_are_those_of_the_weights_unless_they_are_said(
    write_raster: Write, tmp_path: Path
) -> None:
    bands, value_range = ('blue', 'green', 'red'), (20.0, 200.0)
    save_model(_model(), 'known.safetensors', labels=ISPRS, bands=bands, value_range=value_range)
    scene = write_raster('scene.tif', random_image(60, 70), photometric='rgb')
    cases: list[tuple[list[Any], View]] = [
        ([], View(bands=(3, 2, 1), value_range=value_range)),
        (['--bands', 1, 2, 3], View(bands=(1, 2, 3), value_range=value_range)),
        (['--value-range', 0, 255], View(bands=(3, 2, 1), value_range=(0, 255))),
    ]
    for words, view in cases:
        predict(scene, tmp_path / 'a.tif', *words, weights='known.safetensors')
        made = predict_scene(_model(), scene, tmp_path / 'b.tif', labels=ISPRS, view=view)
        assert (tmp_path / 'a.tif').read_bytes() == made.path.read_bytes()


def test_a_map_without_any_data_says_so(write_raster: Write, tmp_path: Path) -> None:
    empty = write_raster('empty.tif', np.full((3, 40, 40), np.nan, np.float32))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = [str(empty), str(tmp_path / 'map.tif'), '--weights', 'model.safetensors', '--quiet']
    assert 'the map is empty: no pixel of the scene has data' in run(parser.parse_args(words))


def test_folders_are_mapped_scene_by_scene(write_raster: Write, tmp_path: Path) -> None:
    for index in range(2):
        write_raster(f'in/{index}.tif', random_image(50, 60, seed=index))
    (tmp_path / 'in' / 'z.tif').write_text('no raster')
    with pytest.raises(SceneError, match='1 of 3 scenes have no map') as told:
        predict(tmp_path / 'in', tmp_path / 'out', '--stac')
    text = str(told.value)
    assert (
        f'{tmp_path / "out" / "catalog.json"}: 2 maps\n2 of them have scenes with no known time'
        in text
    )
    assert '2 done, 0 present, 0 failed, 1 quarantined; 2 windows' in text
    assert 'z.tif: not a readable raster' in text
    assert size_of(tmp_path / 'out' / '1.tif') == (50, 60)
    (tmp_path / 'in' / 'z.tif').rename(tmp_path / 'in' / 'z#.tif')
    with pytest.raises(ConfigError, match=r'z#\.tif contains #, which'):
        predict(tmp_path / 'in', tmp_path / 'none', '--stac')
    with pytest.raises(ConfigError, match=r'a#\.tif contains #, which'):
        predict(tmp_path / 'in' / '0.tif', tmp_path / 'a#.tif', '--stac')
    assert not list(tmp_path.glob('a#.tif')) + list(tmp_path.glob('none/*'))
    (tmp_path / 'in' / 'z#.tif').unlink()
    shares = [
        predict(tmp_path / 'in', tmp_path / 'out2', '--shard', share) for share in ('1/2', '2/2')
    ]
    assert [text.split(',')[0] for text in shares] == ['1 done', '1 done']
    with pytest.raises(ConfigError, match=r'out\.tif: expected a name that ends in \.tif for one'):
        predict(tmp_path / 'in', tmp_path / 'out.tif')
    with pytest.raises(ConfigError, match=r'entropy is .*: expected a folder for many scenes'):
        predict(tmp_path / 'in', tmp_path / 'out', '--entropy', 'e.tif')


@pytest.mark.parametrize('prefix', ['./', './/', 'in/..//', '/vsizip/all.zip/'])
def test_a_scene_is_one_scene_however_its_path_is_written(
    prefix: str, write_raster: Write, tmp_path: Path
) -> None:
    scene = write_raster('scene.tif', random_image(40, 50))
    (tmp_path / 'in').mkdir()
    with zipfile.ZipFile('all.zip', 'w') as archive:
        archive.write(scene, 'scene.tif')
    assert predict(f'{prefix}scene.tif', 'map.tif').startswith('map.tif: 50 × 40 px, 1 window in')


def test_a_new_folder_may_have_a_dot_in_its_name(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('in/scene.tif', random_image(40, 50))
    for source in (scene, scene.parent):
        assert predict(source, 'maps_0.5m').startswith(('1 done', '0 done, 1 present'))
    assert size_of(Path('maps_0.5m/scene.tif')) == (40, 50)
    for source in (scene, scene.parent):
        with pytest.raises(ConfigError, match=r'map\.png: expected a name that ends in'):
            predict(source, 'map.png')


def test_outputs_in_the_folder_of_scenes_are_not_scenes(write_raster: Write) -> None:
    write_raster('in/0.tif', random_image(40, 50))
    write_raster('in/more/1.tif', random_image(40, 50))
    words = ['in', 'in/maps', '--confidence', 'in/sure', '--entropy', 'in/more/unsure']
    words += ['--probabilities', 'in/all']
    assert predict(*words).startswith('2 done, 0 present')
    assert predict(*words).startswith('0 done, 2 present')
    assert '\n2 scenes, about' in predict(*words, '--dry-run')


def test_shards_and_resume_make_one_map(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('scene.tif', random_image(600, 700))
    common = (scene, tmp_path / 'map.tif', '--shard-px', 512)
    assert predict(*common, '--shard', '1/2').startswith('parts: ')
    predict(*common, '--shard', '2/2')
    predict(*common, '--resume', '--cog')
    predict(scene, tmp_path / 'whole.tif', '--cog')
    assert (tmp_path / 'map.tif').read_bytes() == (tmp_path / 'whole.tif').read_bytes()


def test_dry_run_tells_and_writes_nothing(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('scene.tif', random_image(700, 900))
    text = predict(scene, tmp_path / 'map.tif', '--dry-run', '--seen-at', 1)
    assert re.search(
        r'900 × 700 px seen as 45\d × 35\d px, 1 window, '
        r'in 1 part, \d+ MiB',
        text,
    )
    native = predict(scene, tmp_path / 'map.tif', '--dry-run', '--seen-at', 'native')
    assert '900 × 700 px, 6 windows' in native
    plain = write_raster('plain.png', random_image(70, 90), crs=None, driver='PNG')
    stated = predict(plain, tmp_path / 'map.tif', '--dry-run', '--gsd', 0.5, '--seen-at', 1)
    assert '90 × 70 px seen as 45 × 35 px' in stated
    plain.unlink()
    assert {path.name for path in tmp_path.iterdir()} == {'scene.tif', 'model.safetensors'}


def test_dry_run_of_many_scenes_names_every_scene_that_would_have_no_map(
    write_raster: Write, tmp_path: Path
) -> None:
    save_model(_model(), tmp_path / 'metre.safetensors', gsd_m=1.0)
    write_raster('scenes/b.tif', random_image(64, 64))
    for plain in 'ac':
        write_raster(f'scenes/{plain}.png', random_image(64, 64), crs=None, driver='PNG')
    with pytest.raises(SceneError, match='2 of 3 scenes cannot be mapped') as error:
        predict('scenes', tmp_path / 'maps', '--dry-run', weights='metre.safetensors')
    _, first, mapped, second, last = str(error.value).split('\n')
    assert re.match(r'no map: scenes/a\.png: the model was trained at 1 m', first)
    assert mapped.startswith('scenes/b.tif: 64 × 64 px')
    assert second.startswith('no map: scenes/c.png')
    assert last.startswith('1 scene, about')
    stated = predict(
        'scenes', tmp_path / 'maps', '--dry-run', '--gsd', 0.25, weights='metre.safetensors'
    )
    first, mapped, second, _ = stated.split('\n')
    assert 'own pixels 0.25 m (stated)' in first
    assert 'own pixels 0.25 m (stated)' in second
    assert 'own pixels 0.5 m (georeference)' in mapped  # what it says of itself remains true


def test_a_stated_size_leaves_the_georeferenced_scenes_of_a_folder_alone(
    write_raster: Write, tmp_path: Path
) -> None:
    save_model(_model(), tmp_path / 'metre.safetensors', gsd_m=1.0)
    placed = random_image(64, 64)
    write_raster('scenes/b.tif', placed)
    alone = tmp_path / 'alone.tif'
    predict('scenes/b.tif', alone, weights='metre.safetensors')
    write_raster('scenes/c.png', random_image(64, 64), crs=None, driver='PNG')
    text = predict('scenes', tmp_path / 'maps', '--gsd', 0.25, weights='metre.safetensors')
    assert 'own pixels 0.25 m (stated), seen at 1 m' in text
    assert 'own pixels 0.5 m (georeference), seen at 1 m' in text
    with rasterio.open(alone) as one, rasterio.open(tmp_path / 'maps/b.tif') as among:
        assert (one.read() == among.read()).all()
    overridden = predict(
        'scenes/b.tif', tmp_path / 'a.tif', '--gsd', 0.25, weights='metre.safetensors'
    )
    assert '0.25 m (stated, although the georeference says 0.5 m), seen at 1 m' in overridden


@pytest.mark.parametrize('metres', ['0', '-1', 'nan', 'inf', '21cm', ''])
@pytest.mark.parametrize('option', ['--gsd', '--seen-at'])
def test_sizes_without_meaning_are_refused_by_the_name_of_their_option(
    option: str, metres: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        predict('scene.tif', 'map.tif', f'{option}={metres}')
    assert f'argument {option}: {metres!r}: expected metres above 0' in capsys.readouterr().err


BUILDER = """
from torch import nn
from crossearth.models import builder

@builder
def build(num_classes: int) -> nn.Module:
    return nn.Conv2d(3, num_classes, 1)

SIZE = 3
"""


@pytest.mark.slow
def test_models_of_a_named_builder_are_mapped(
    write_raster: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path('my_builder.py').write_text(BUILDER)
    script = 'import my_builder, crossearth.models as m; m.save_model(my_builder.build(4), "m.st")'
    script = script.replace('m.st', 'mine.safetensors')
    subprocess.run([sys.executable, '-c', script], check=True)
    scene = write_raster('scene.tif', random_image(40, 50))
    monkeypatch.setattr(sys, 'path', list(sys.path))  # the folder is added to it
    with pytest.raises(CheckpointError, match="names the builder 'my_builder:build'"):
        predict(scene, 'map.tif', weights='mine.safetensors')
    assert 'my_builder' not in sys.modules  # the file's word imports nothing
    named = ('--builder', 'my_builder:build')
    assert '50 × 40 px' in predict(scene, 'map.tif', *named, weights='mine.safetensors')
    with rasterio.open('map.tif') as made:
        assert made.tags()['NUM_CLASSES'] == '4'
    write_raster('in/0.tif', random_image(40, 50))
    many = predict('in', 'out', *named, '--workers', 2, weights='mine.safetensors')
    assert many.startswith('1 done')
    for words, message in (
        ('my_builder', r'expected MODULE:FUNCTION, such as mine:build'),
        ('my builder:build', r'expected MODULE:FUNCTION'),
        ('your_builder:build', r'there is no module your_builder in .*, nor is one installed'),
        ('my_builder:other', r'other is not a function of .*my_builder\.py'),
        ('my_builder:SIZE', r'SIZE is not a function of .*my_builder\.py'),
        ('broken_builder:build', r'broken_builder:build: cannot be imported \(.*syntax'),
        ('needy_builder:build', r'needy_builder needs no_such_package'),
    ):
        Path('broken_builder.py').write_text('def build(:')
        Path('needy_builder.py').write_text('import no_such_package')
        with pytest.raises(ConfigError, match=message):
            predict(scene, 'map.tif', '--builder', words, weights='mine.safetensors')


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CrossEarthError) as caught:
        predict(tmp_path / 'no.tif', tmp_path / 'map.tif')
    assert '\n' not in str(caught.value)
    with pytest.raises(SystemExit):
        predict('a.tif', 'b.tif', '--shard', '3of4')
    assert "'3of4': expected I/N" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="device is 'vacuum': expected a torch device"):
        predict('a.tif', 'b.tif', '--device', 'vacuum')


def test_help_imports_neither_torch_nor_rasterio() -> None:
    code = (
        'import sys, contextlib, io\nfrom crossearth.cli import main\n'
        'with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n'
        '    main(["predict", "--help"])\n'
        'print(sorted({"torch", "rasterio"} & set(sys.modules)))'
    )
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == '[]'


@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')  # deprecated, and in wide use
def test_frozen_torchscript_of_one_logit_is_mapped_and_resumed_by_its_file(
    write_raster: Write, tmp_path: Path
) -> None:
    scene = write_raster('scene.tif', random_image(60, 90))
    torch.manual_seed(0)
    model = nn.Conv2d(3, 1, 1).eval()
    torch.jit.save(torch.jit.freeze(torch.jit.script(model.half())), 'roads.pt')
    words = ('--output-kind', 'logit', '--threshold', 0.4, '--tile-px', 64)
    normalised = ('--mean', 0.4, 0.5, 0.6, '--std', 0.2, 0.2, 0.2)
    predict(scene, 'a.tif', *words, *normalised, weights='roads.pt')
    made = predict_scene(
        model,
        scene,
        tmp_path / 'b.tif',
        windows=Windows(tile_px=64),
        view=View(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.2)),
        model_output=ModelOutput('logit', threshold=0.4),
    )
    assert Path('a.tif').read_bytes() == made.path.read_bytes()
    with rasterio.open('a.tif') as dataset:
        assert set(np.unique(dataset.read())) == {0, 1}
    with pytest.raises(
        ShapeError, match=r'gave shape \(1, 1, 60, 64\), which is one channel, .*--threshold'
    ):
        predict(scene, 'c.tif', '--tile-px', 64, weights='roads.pt')

    kept = ('--shard', '1/1', '--shard-px', 512)
    predict(scene, 'd.tif', *words, *kept, weights='roads.pt')
    with torch.no_grad():
        model.bias += 1
    torch.jit.save(torch.jit.freeze(torch.jit.script(model)), 'roads.pt')
    with pytest.raises(ConfigError, match=r'another run \(model was'):
        predict(scene, 'd.tif', *words, *kept, weights='roads.pt')
    with pytest.raises(ConfigError, match=r'--builder mine:build: roads\.pt .*leave out --builder'):
        predict(scene, 'd.tif', '--builder', 'mine:build', weights='roads.pt')


def test_thresholds_of_classes_are_named(
    write_raster: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = write_raster('scene.tif', random_image(60, 90))
    predict(
        scene,
        'a.tif',
        '--tile-px',
        64,
        '--labels',
        'isprs',
        '--class-thresholds',
        'car=0.9',
        '0=0.9',
    )
    made = predict_scene(
        load_model('model.safetensors'),
        scene,
        tmp_path / 'b.tif',
        labels=ISPRS,
        windows=Windows(tile_px=64),
        outputs=Outputs(class_thresholds={0: 0.9, 4: 0.9}),
    )
    assert Path('a.tif').read_bytes() == made.path.read_bytes()
    with pytest.raises(SystemExit):
        predict('a.tif', 'b.tif', '--class-thresholds', 'car')
    assert "'car': expected CLASS=P, such as road=0.7" in capsys.readouterr().err


def test_a_fine_scene_is_seen_as_the_model_learnt_and_the_output_says_so(
    write_raster: Write, tmp_path: Path
) -> None:
    save_model(_model(), 'metre.safetensors', gsd_m=1.0, labels=ISPRS)
    place = rasterio.Affine(0.21, 0, 400_000, 0, -0.21, 5_800_000)
    scene = write_raster('in/scene.tif', random_image(200, 300), transform=place)
    line = 'own pixels 0.21 m (georeference), seen at 1 m: the model was trained at 1 m'
    text = predict(scene, tmp_path / 'map.tif', weights='metre.safetensors')
    assert f'\nscene: {line}\n' in text
    asked = predict(scene, tmp_path / 'asked.tif', '--labels', 'isprs', '--seen-at', 1)
    assert 'seen at 1 m: as asked' in asked
    assert (tmp_path / 'map.tif').read_bytes() == (tmp_path / 'asked.tif').read_bytes()
    assert predict(scene, tmp_path / 'map.tif', '--dry-run', weights='metre.safetensors').endswith(
        line
    )
    several = predict(tmp_path / 'in', tmp_path / 'out', weights='metre.safetensors')
    assert f'\n1 scene: {line}' in several
    assert (tmp_path / 'out' / 'scene.tif').read_bytes() == (tmp_path / 'map.tif').read_bytes()


def test_an_automatic_size_needs_an_estimator(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('scene.tif', random_image(60, 70))
    with pytest.raises(ConfigError, match='--gsd auto needs --gsd-estimator FILE'):
        predict(scene, tmp_path / 'a.tif', '--gsd', 'auto')
    with pytest.raises(ConfigError, match='--gsd-estimator only works with --gsd auto'):
        predict(scene, tmp_path / 'a.tif', '--gsd-estimator', 'gsd.safetensors')


def test_several_scales_are_options(write_raster: Write, tmp_path: Path) -> None:
    scene = write_raster('scene.tif', random_image(60, 70))
    merge = ('--merge', 'max', '--merge-class', 'car')
    words = ('--labels', 'isprs', '--scales', '1', '0.5', *merge)
    text = predict(scene, tmp_path / 'a.tif', *words)
    assert 'is not known; at scales 1, 0.5' in text
    windows = Windows(scales=(1, 0.5), merge='max', merge_class='car')
    model = load_model('model.safetensors')
    made = predict_scene(model, scene, tmp_path / 'b.tif', labels=ISPRS, windows=windows)
    assert (tmp_path / 'a.tif').read_bytes() == made.path.read_bytes()
    with pytest.raises(SystemExit):
        predict(scene, tmp_path / 'a.tif', '--scales', 'half')


def test_what_would_be_ignored_is_refused_and_areas_say_whose_they_are(
    write_raster: Write, tmp_path: Path
) -> None:
    scene = write_raster('scene.tif', random_image(80, 90))
    with pytest.raises(ConfigError, match='--merge is for several scales: add --scales'):
        predict(scene, tmp_path / 'map.tif', '--merge', 'max')
    kept = "areas are those of the scene's georeference, which the map keeps"
    assert kept in predict(scene, tmp_path / 'stated.tif', '--gsd', 2)
    assert kept not in predict(scene, tmp_path / 'own.tif')
