from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from torch import Tensor

from crossearth.errors import ConfigError
from crossearth.inference import Outputs, predict_scene
from crossearth.labels import ISPRS
from tests.inference.test_predict import Write, random_ids


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
