"""Files for QGIS, opened in QGIS itself."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from crossearth.assessment import SampleSize, assess_map, draw_sample
from crossearth.inference import predict_scene
from crossearth.labels import LabelSpace

SYSTEM_PYTHON = Path('/usr/bin/python3')  # the one that the package python3-qgis belongs to
LABELS = LabelSpace('three', ('background', 'road', 'roof'), ((0, 0, 0), (255, 0, 0), (0, 90, 200)))


def in_qgis(code: str, *arguments: object) -> object:
    """What a piece of code for PyQGIS leaves in `answer`."""
    whole = f"""
import json, sys
from qgis.core import *
application = QgsApplication([], False)
application.initQgis()
answer = None
{code}
print('answer:' + json.dumps(answer))
"""
    done = subprocess.run(
        [SYSTEM_PYTHON, '-c', whole, *map(str, arguments)],
        env={'PATH': os.environ['PATH'], 'QT_QPA_PLATFORM': 'offscreen', 'HOME': os.devnull},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 'newer version' not in done.stdout + done.stderr
    return json.loads(done.stdout.split('answer:')[1])


@pytest.fixture(scope='module')
def qgis() -> None:
    if (
        not SYSTEM_PYTHON.exists()
        or subprocess.run(
            [SYSTEM_PYTHON, '-c', 'import qgis.core'], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip('QGIS is not installed (apt-get install qgis python3-qgis)')


@pytest.fixture
def mapped(write_raster, thirds, tmp_path):
    scene = write_raster('scene.tif', np.zeros((3, 48, 60), np.uint8))
    predict_scene(thirds, scene, tmp_path / 'map.tif', labels=LABELS)
    return scene, tmp_path / 'map.tif'


@pytest.fixture
def thirds():
    """A network that finds the three classes in thirds of each row."""

    def network(images):
        third = (np.arange(images.shape[-1]) * 3 // images.shape[-1]).tolist()
        logits = images.new_zeros((len(images), 3, *images.shape[-2:]))
        for column, class_id in enumerate(third):
            logits[:, class_id, :, column] = 9
        return logits

    return network


@pytest.mark.slow
def test_a_map_shows_its_classes(qgis, mapped):
    found = in_qgis(
        """
layer = QgsRasterLayer(sys.argv[1], 'map')
kinds = [(c.value, c.label, c.color.name(), c.color.alpha()) for c in layer.renderer().classes()]
answer = [layer.isValid(), layer.crs().authid(), kinds]
""",
        mapped[1],
    )
    assert found == [
        True,
        'EPSG:32633',
        [
            [0.0, 'background', '#000000', 0],
            [1.0, 'road', '#ff0000', 255],
            [2.0, 'roof', '#005ac8', 255],
        ],
    ]


@pytest.mark.slow
def test_labels_given_in_the_project_are_assessed(qgis, mapped, tmp_path):
    scene, of_classes = mapped
    sample = tmp_path / 'sample'
    draw_sample(of_classes, sample, size=SampleSize(n=60, least=10), scene=scene, chip_px=16)
    layers, offered = in_qgis(
        """
project = QgsProject.instance()
assert project.read(sys.argv[1]), project.error()
order = project.layerTreeRoot().layerOrder()
points = order[0]
field = points.fields().indexOf('label')
form = points.editorWidgetSetup(field)
offered = [name for entry in form.config()['map'] for name in entry]
with edit(points):
    for feature in points.getFeatures():
        points.changeAttributeValue(feature.id(), field, offered[feature['id'] % len(offered)])
layers = [[one.name(), one.isValid(), one.crs().authid()] for one in order]
answer = [layers + [['project', True, project.crs().authid()]], offered]
""",
        sample / 'labelling.qgz',
    )
    assert layers == [
        [name, True, 'EPSG:32633'] for name in ('points', 'pixels', 'scene', 'project')
    ]
    assert offered == list(LABELS.classes)
    assert sum(assess_map(sample).labelled) == 60
