import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.inference import Outputs, Running, View, Windows, predict_scene
from crossearth.labels import ISPRS
from tests.inference.test_predict import Write, labels_of, random_ids, random_image


@pytest.mark.parametrize('combine', ['softmax', 'logits'])
def test_probabilities_confidence_and_entropy_are_those_of_the_scores(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path, combine: Any
) -> None:
    image = random_image(60, 70)
    image[:, :20, :30] = 0
    made = predict_scene(
        convolutions,
        write_scene(image, nodata=0),
        tmp_path / 'map.tif',
        windows=Windows(tile_px=128, combine=combine),
        outputs=Outputs(
            probabilities=tmp_path / 'p.tif',
            confidence=tmp_path / 'c.tif',
            entropy=tmp_path / 'e.tif',
        ),
    )
    hole = np.zeros((60, 70), bool)
    hole[:20, :30] = True
    with torch.inference_mode():
        expected = convolutions(torch.from_numpy(image)[None].float() / 255).softmax(1)[0].double()
    entropy = -(expected * expected.log()).sum(0) / np.log(5)
    with rasterio.open(tmp_path / 'p.tif') as dataset:
        assert dataset.count == 5
        assert dataset.nodata == 255
        values = dataset.read().astype(float) * np.array(dataset.scales)[:, None, None]
    assert np.abs(values - expected.numpy())[:, ~hole].max() <= 0.5 / 254 + 1e-6
    confidence = labels_of(tmp_path / 'c.tif')
    assert np.abs(confidence / 254 - expected.amax(0).numpy())[~hole].max() <= 0.5 / 254 + 1e-6
    assert (
        np.abs(labels_of(tmp_path / 'e.tif') / 254 - entropy.numpy())[~hole].max()
        <= 0.5 / 254 + 1e-6
    )
    for name in ('map.tif', 'p.tif', 'c.tif', 'e.tif'):
        np.testing.assert_array_equal(labels_of(tmp_path / name) == 255, hole)
        with rasterio.open(tmp_path / name) as dataset, rasterio.open(made.path) as labels:
            assert dataset.transform == labels.transform
            assert dataset.crs == labels.crs


def test_panels_give_the_same_probabilities(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    scene = write_scene(random_image(90, 1700))
    for name, memory in (('a', None), ('b', 26)):
        made = predict_scene(
            convolutions,
            scene,
            tmp_path / f'{name}.tif',
            windows=Windows(tile_px=64),
            running=Running(memory_mb=memory),
            outputs=Outputs(
                probabilities=tmp_path / f'{name}p.tif', entropy=tmp_path / f'{name}e.tif'
            ),
        )
        assert (made.units > 1) == (name == 'b')
    for kind in ('', 'p', 'e'):
        first, second = (tmp_path / f'{name}{kind}.tif' for name in 'ab')
        assert first.read_bytes() == second.read_bytes()


def test_outputs_of_the_same_name_are_refused(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match='two outputs have the same name'):
        predict_scene(
            convolutions,
            write_scene(random_image(9, 9)),
            tmp_path / 'map.tif',
            outputs=Outputs(entropy=tmp_path / 'map.tif'),
        )


def test_cloud_optimised_maps_are_valid_and_hold_the_same(
    write_scene: Write, one_hot: Callable[[int], Callable[[Tensor], Tensor]], tmp_path: Path
) -> None:
    cogeo = pytest.importorskip('rio_cogeo.cogeo', reason='rio-cogeo is not installed')
    ids = np.repeat(np.repeat(random_ids(140, 150), 8, 1), 8, 2)
    scene = write_scene(ids)
    made = predict_scene(
        one_hot(6),
        scene,
        tmp_path / 'map.tif',
        labels=ISPRS,
        outputs=Outputs(cog=True, confidence=tmp_path / 'c.tif'),
    )
    for path in (made.path, tmp_path / 'c.tif'):
        valid, errors, warnings = cogeo.cog_validate(path, strict=True)
        assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(made.path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), ids[0])
        assert dataset.overviews(1) == [2, 4]
        np.testing.assert_array_equal(
            dataset.read(1, out_shape=(280, 300)), ids[0][::4, ::4]
        )  # fmt: skip
        assert dataset.colormap(1)[1] == (0, 0, 255, 255)
        assert dataset.tags()['CLASS_3'] == 'tree'
        assert dataset.nodata == 255
        assert dataset.transform == rasterio.open(scene).transform
    assert {path.name for path in tmp_path.iterdir()} == {'scene.tif', 'map.tif', 'c.tif'}


def test_style_for_qgis_names_and_colours_every_class(
    write_scene: Write, one_hot: Callable[[int], Callable[[Tensor], Tensor]], tmp_path: Path
) -> None:
    scene = write_scene(random_ids(9, 9))
    predict_scene(
        one_hot(6), scene, tmp_path / 'map.tif', labels=ISPRS, outputs=Outputs(qgis_style=True)
    )
    root = ET.fromstring((tmp_path / 'map.qml').read_text().split('\n', 1)[1])
    entries = [
        (entry.get('value'), entry.get('label'), entry.get('color'))
        for entry in root.iter('paletteEntry')
    ]
    assert entries[1] == ('1', 'building', '#0000ff')
    assert len(entries) == 6
    with pytest.raises(ConfigError, match='pass labels'):
        predict_scene(one_hot(6), scene, tmp_path / 'map.tif', outputs=Outputs(qgis_style=True))


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


def test_georeferencing_of_all_kinds_survives_cloud_optimisation(
    write_scene: Write, real_data: Path, tmp_path: Path
) -> None:
    cogeo = pytest.importorskip('rio_cogeo.cogeo', reason='rio-cogeo is not installed')

    def model(images: Tensor) -> Tensor:
        return torch.stack([images.mean(1), 1 - images.mean(1)], 1)

    for file in sorted((real_data / 'georef').glob('*.tif')):
        with rasterio.open(file) as before:
            floats = before.dtypes[0].startswith('float')
            made = predict_scene(
                model,
                file,
                tmp_path / 'map.tif',
                view=View(value_range=(0, 100) if floats else None),
                outputs=Outputs(cog=True),
                windows=Windows(overlap=0),
            )
            with rasterio.open(made.path) as after:
                assert after.crs == before.crs, file.name
                assert after.transform == before.transform, file.name
                assert after.gcps == before.gcps, file.name
            assert cogeo.cog_validate(made.path, strict=True)[0], file.name
