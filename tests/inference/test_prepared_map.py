from pathlib import Path

import pytest
from torch import nn

from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from crossearth.inference import Outputs, predict_scene
from tests.inference.test_predict import Write, random_image


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


def test_files_that_are_no_scenes_are_named(
    write_scene: Write, convolutions: nn.Module, tmp_path: Path
) -> None:
    with pytest.raises(SceneNotFoundError, match=r'none.tif: no such file'):
        predict_scene(convolutions, tmp_path / 'none.tif', tmp_path / 'map.tif')
    text = tmp_path / 'text.tif'
    text.write_text('no raster')
    with pytest.raises(SceneError, match=r'text.tif: not a readable raster'):
        predict_scene(convolutions, text, tmp_path / 'map.tif')
    scene = write_scene(random_image(20, 20))
    for destination, message in (
        (scene, 'is the scene itself'),
        (tmp_path / 'map.png', 'choose a name that ends in .tif'),
        (tmp_path / 'no' / 'map.tif', 'create it first'),
    ):
        with pytest.raises(ConfigError, match=message):
            predict_scene(convolutions, scene, destination)
