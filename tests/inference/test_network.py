import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from rasterio.enums import ColorInterp
from torch import Tensor, nn

from crossearth.errors import BandError, SceneError, ShapeError
from crossearth.inference import Outputs, Running, View, Windows, predict_scene
from crossearth.labels import ISPRS
from tests.inference.test_predict import Write, labels_of, random_image


def test_d4_makes_the_map_of_a_turned_scene_the_turned_map(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    image = random_image(40, 48)
    upright = predict_scene(
        convolutions,
        write_scene(image, 'a.tif'),
        tmp_path / 'am.tif',
        windows=Windows(augment='d4'),
    )
    for index, (turns, flip) in enumerate(itertools.product(range(4), (False, True))):
        moved = np.rot90(image[..., ::-1] if flip else image, turns, (1, 2))
        made = predict_scene(
            convolutions,
            write_scene(np.ascontiguousarray(moved), f'{index}.tif'),
            tmp_path / f'{index}m.tif',
            windows=Windows(augment='d4'),
        )
        expected = labels_of(upright.path)
        expected = np.rot90(expected[:, ::-1] if flip else expected, turns)
        assert (labels_of(made.path) == expected).mean() > 0.999  # sums in another order


def test_d4_averages_the_eight_predictions(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    image = random_image(30, 30)
    made = predict_scene(
        convolutions,
        write_scene(image),
        tmp_path / 'map.tif',
        windows=Windows(augment='d4'),
        outputs=Outputs(probabilities=tmp_path / 'p.tif'),
    )
    x = torch.from_numpy(image)[None].float() / 255
    with torch.inference_mode():
        turned = [
            torch.rot90(convolutions(torch.rot90(x, k, (2, 3))).softmax(1), -k, (2, 3))
            for k in range(4)
        ]
        mirrored = [
            torch.rot90(
                convolutions(torch.rot90(x.flip(3), k, (2, 3))).softmax(1), -k, (2, 3)
            ).flip(3)
            for k in range(4)
        ]
    expected = torch.stack(turned + mirrored).mean(0)[0]
    with rasterio.open(tmp_path / 'p.tif') as dataset:
        assert np.abs(dataset.read() / 254 - expected.numpy()).max() <= 0.5 / 254 + 1e-5
    assert made.windows_run == 1


def test_modes_of_submodules_are_put_back(write_scene: Write, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.9)).train()
    model[1].eval()
    scene = write_scene(random_image(20, 20))
    first = predict_scene(model, scene, tmp_path / 'a.tif')
    second = predict_scene(model, scene, tmp_path / 'b.tif')
    assert first.path.read_bytes() == second.path.read_bytes()
    assert [module.training for module in model.modules()] == [True, True, False, True]


class _Halves(nn.Module):
    """Takes even sizes only, as networks that halve images do."""

    def forward(self, images: Tensor) -> Tensor:
        b, c, h, w = images.shape
        return images.view(b, c, h // 2, 2, w // 2, 2).view(b, c, h, w)[:, :2]


@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')
@pytest.mark.parametrize('is_frozen', [True, False])
def test_a_program_of_others_that_fails_is_one_line(
    write_scene: Write, tmp_path: Path, *, is_frozen: bool
) -> None:
    scene = write_scene(np.zeros((3, 9, 9), np.uint8))
    for model, kind, message in [
        (nn.Conv2d(4, 2, 1), BandError, r'takes 4 bands, but 3 are given: map a scene'),
        (_Halves(), ShapeError, r'fails on images \(1, 3, 9, 9\) .* with Windows\(tile_px=…\)'),
    ]:
        program = torch.jit.script(model.eval())
        if is_frozen:
            torch.jit.save(torch.jit.freeze(program), tmp_path / 'model.pt')
            program = torch.jit.load(tmp_path / 'model.pt')
        with pytest.raises(kind, match=message):
            predict_scene(program, scene, tmp_path / 'map.tif')


def test_wrong_bands_name_the_file_and_the_remedy(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    scene = write_scene(np.zeros((4, 20, 20), np.uint8), photometric='minisblack')
    with pytest.raises(
        BandError, match=r'scene.tif: .* 3 bands, but 4 .* with View\(bands=\(1, 2, 3\)\)'
    ):
        predict_scene(convolutions, scene, tmp_path / 'map.tif')
    one = write_scene(np.zeros((1, 20, 20), np.uint8), 'one.tif')
    with pytest.raises(BandError, match=r'one.tif: .* takes 3 bands, but 1 are given: map a scene'):
        predict_scene(convolutions, one, tmp_path / 'map.tif')
    predict_scene(convolutions, one, tmp_path / 'map.tif', view=View(bands=(1, 1, 1)))
    with rasterio.open(one, 'r+') as dataset:
        dataset.colorinterp = [ColorInterp.palette]
        dataset.write_colormap(1, {0: (9, 9, 9, 255)})
    with pytest.raises(SceneError, match='numbers of a palette, not colours: expand it'):
        predict_scene(lambda x: x, one, tmp_path / 'map.tif')
    with pytest.raises(BandError, match=r'one.tif: has 1 band, numbers of a palette.*-expand rgb'):
        predict_scene(lambda x: x, one, tmp_path / 'map.tif', view=View(bands=(1, 2, 3)))
    with pytest.raises(
        BandError, match=r'scene.tif: has bands 1 to 4, but bands \(0, 1, 2\) were asked for'
    ):
        predict_scene(convolutions, scene, tmp_path / 'map.tif', view=View(bands=(0, 1, 2)))


@pytest.mark.parametrize(
    ('model', 'message'),
    [
        (lambda x: x[:, :, ::2, ::2], r'gave shape \(1, 3, 10, 10\), expected logits \(1, k, 20'),
        (lambda x: x[0], r'gave shape \(3, 20, 20\)'),
        (lambda _: {'out': None}, 'gave NoneType in its dict, expected a tensor'),
    ],
)
def test_outputs_that_are_no_logits_are_errors(
    write_scene: Write, tmp_path: Path, model: Callable[[Tensor], Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        predict_scene(model, write_scene(random_image(20, 20)), tmp_path / 'map.tif')


def test_classes_must_be_those_of_the_label_space(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(ShapeError, match="gave 5 classes, but 'isprs' has 6"):
        predict_scene(
            convolutions, write_scene(random_image(20, 20)), tmp_path / 'map.tif', labels=ISPRS
        )


def test_errors_of_the_model_say_where_they_come_from(write_scene: Write, tmp_path: Path) -> None:
    def model(images: Tensor) -> Tensor:
        raise RuntimeError('out of luck')

    with pytest.raises(RuntimeError, match='out of luck') as caught:
        predict_scene(model, write_scene(random_image(20, 20)), tmp_path / 'map.tif')
    assert 'scene.tif, images (1, 3, 20, 20)' in caught.value.__notes__[0]


def test_bfloat16_autocast_sums_in_float32(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    dtypes = set()
    convolutions.register_forward_hook(lambda _m, _i, output: dtypes.add(output.dtype))
    scene = write_scene(random_image(60, 60))
    exact = labels_of(
        predict_scene(convolutions, scene, tmp_path / 'a.tif', windows=Windows(tile_px=32)).path
    )
    half = predict_scene(
        convolutions,
        scene,
        tmp_path / 'b.tif',
        windows=Windows(tile_px=32),
        running=Running(autocast=torch.bfloat16),
    )
    assert dtypes == {torch.float32, torch.bfloat16}
    assert (labels_of(half.path) == exact).mean() > 0.98


@pytest.mark.filterwarnings('ignore:.torch.jit:FutureWarning')  # deprecated, and in wide use
def test_scripted_models_run(write_scene: Write, convolutions: nn.Module, tmp_path: Path) -> None:
    scene = write_scene(random_image(60, 60))
    traced = torch.jit.trace(convolutions, torch.zeros(1, 3, 8, 8)).train()
    one = predict_scene(traced, scene, tmp_path / 'a.tif', windows=Windows(tile_px=32))
    two = predict_scene(convolutions, scene, tmp_path / 'b.tif', windows=Windows(tile_px=32))
    assert one.path.read_bytes() == two.path.read_bytes()
    assert traced.training
