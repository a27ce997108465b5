import argparse
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crossearth.commands import style as style_command
from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from crossearth.models.style import GhiasiTransformer, StylePredictor
from crossearth.transforms import EarthStyle

DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))


def crossearth_style(*arguments: object) -> str:
    parser = argparse.ArgumentParser()
    style_command.add_arguments(parser)
    return style_command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Random weights in the files of style-augmentation."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp('weights')
    state = {}
    for key, value in GhiasiTransformer().state_dict().items():
        part, index, rest = key.split('.', 2)
        state[f'layers.{int(index) + (3 if part == "repaint" else 0)}.{rest}'] = value
    torch.save({'state_dict_ghiasi': state}, folder / 't.pth')
    torch.save({'state_dict_stylepredictor': StylePredictor().state_dict()}, folder / 'p.pth')
    return folder / 'p.pth', folder / 't.pth'


@pytest.fixture
def field(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    (tmp_path / 'field').mkdir()
    for index in range(5):
        pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'field' / f'{index}.png')
    return tmp_path / 'field'


def test_fit_and_preview_make_their_files_and_nothing_else(
    field: Path,
    weights: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    predictor, transformer = weights
    out = tmp_path / 'out'
    style_file, sheet_file = out / 'style.safetensors', out / 'sheet.png'
    answer = crossearth_style(
        'fit', field, '--output', style_file, '--predictor', predictor, '--side-px', 64
    )
    assert 'styles of 5 pictures' in answer
    style = EarthStyle.load(style_file)
    assert style.provenance['source'] == 'field'
    assert style.mean.shape == (100,)
    # random weights hardly tell pictures apart; make the styles differ
    EarthStyle(style.mean, torch.eye(100), style.provenance).save(style_file)
    answer = crossearth_style(
        *('preview', field / '0.png', '--style', style_file, '--output', sheet_file),
        *('--predictor', predictor, '--transformer', transformer),
        *('--alpha', 0, 1, '--samples', 2, '--side-px', 48, '--patch-size', 16, '--ratio', 1),
    )
    assert {path.name for path in out.iterdir()} == {'style.safetensors', 'sheet.png'}
    sheet = np.asarray(Image.open(sheet_file))
    assert sheet.shape == (2 * 48 + 4, 72 + 3 * (48 + 4), 3)
    tiles = [
        [sheet[y * 52 : y * 52 + 48, 72 + x * 52 : 120 + x * 52].astype(int) for x in range(3)]
        for y in range(2)
    ]
    assert np.array_equal(tiles[0][0], tiles[1][0])  # the picture itself
    assert np.array_equal(tiles[0][1], tiles[0][2])  # at α = 0 all styles are its own
    assert np.abs(tiles[1][1] - tiles[1][2]).max() > 0  # at α = 1 they are not
    assert 'sheet.png: 2 weights × 2 styles' in answer


def test_an_interrupted_fit_goes_on_and_clears_up(
    field: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    options = ('--predictor', weights[0], '--side-px', 64, '--batch-size', 2)
    crossearth_style('fit', field, '--output', tmp_path / 'whole.safetensors', *options)
    broken = field / '4.png'
    pixels = broken.read_bytes()
    broken.write_bytes(pixels[:60])
    output = tmp_path / 'style.safetensors'
    with pytest.raises(SceneError, match=r'4\.png is damaged or not a picture'):
        crossearth_style('fit', field, '--output', output, *options)
    assert {path.name for path in tmp_path.glob('style*')} == {'style.safetensors.partial'}
    broken.write_bytes(pixels)
    crossearth_style('fit', field, '--output', output, *options)
    assert output.read_bytes() == (tmp_path / 'whole.safetensors').read_bytes()
    assert not list(tmp_path.glob('*.partial'))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, weights: tuple[Path, Path]) -> None:
    output = tmp_path / 'out.safetensors'
    with pytest.raises(SceneNotFoundError, match='none does not exist or holds no pictures'):
        crossearth_style('fit', tmp_path / 'none', '--output', output, '--predictor', weights[0])


@pytest.mark.skipif(not DATA.exists(), reason='the light weights and real images are not at hand')
def test_the_light_model_previews_a_real_picture(tmp_path: Path) -> None:
    pytest.importorskip('onnx', reason='the package onnx is not installed')
    light = DATA / 'weights' / 'style'
    aid = tmp_path / 'aid'
    aid.mkdir()
    for path in sorted((DATA / 'style_aid150').rglob('*.*'))[::60]:
        (aid / path.name).write_bytes(path.read_bytes())
    predictor = ('--predictor', light / 'arbitrary_predict.onnx')
    crossearth_style('fit', aid, '--output', tmp_path / 's.safetensors', *predictor)
    crossearth_style(
        *('preview', DATA / 'multiclass/potsdam/img_dir/2_10_0_0_512_512.png', *predictor),
        *('--style', tmp_path / 's.safetensors', '--output', tmp_path / 'sheet.png'),
        *('--transformer', light / 'arbitrary_transform.onnx', '--alpha', 1, '--samples', 2),
    )
    sheet = np.asarray(Image.open(tmp_path / 'sheet.png').convert('L')).astype(float)
    plain, styled = sheet[:, 72:328], sheet[:, 332:588]
    edges = [
        np.abs(np.diff(tile, axis=0)[:, :-1]) + np.abs(np.diff(tile)[:-1])
        for tile in (plain, styled)
    ]
    assert np.corrcoef(edges[0].ravel(), edges[1].ravel())[0, 1] > 0.3  # the same scene
    assert np.abs(plain - styled).mean() > 8  # in another style


@pytest.mark.parametrize('wrong', [('--samples', 0), ('--output', 'sheet.jpg')])
def test_a_sheet_without_samples_or_of_another_format_is_refused(
    wrong: tuple[object, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r'expected at least one sample, .* ends in \.png'):
        crossearth_style(
            *('preview', tmp_path / 'x.png', '--style', tmp_path / 's.safetensors'),
            *('--output', tmp_path / 'sheet.png', *wrong),
        )


def test_a_device_that_is_not_there_is_named(
    field: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"device 'vacuum' cannot be used \(.*\): try cpu"):
        crossearth_style(
            *('fit', field, '--output', tmp_path / 's.safetensors'),
            *('--predictor', weights[0], '--device', 'vacuum'),
        )


@pytest.mark.parametrize('words', [('--workers', -1), ('--batch-size', 0), ('--side-px', 0)])
def test_numbers_that_cannot_be_are_refused(field: Path, tmp_path: Path, words: tuple) -> None:
    with pytest.raises(ConfigError, match='expected at least 1'):
        crossearth_style('fit', field, '--output', tmp_path / 'a.safetensors', *words)
