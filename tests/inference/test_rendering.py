from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from torch import nn

from crossearth.inference import Outputs, Running, Windows, predict_scene
from tests.inference.test_predict import Write, labels_of, random_image


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
