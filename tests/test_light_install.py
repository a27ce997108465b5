"""Machines that only map: `requirements-map.txt` is enough, and nothing in it is for nothing."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from crossearth.labels import BUILDING
from crossearth.models import fpn_timm, save_model

ROOT = Path(__file__).parents[1]
LISTED = [
    line
    for line in (ROOT / 'requirements-map.txt').read_text().splitlines()
    if not line.startswith('#')
]

# Packages that are outside of what the list requires are not found, as if they were not installed.
SCRIPT = """
import importlib.metadata as metadata
import sys
from importlib.machinery import PathFinder

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

listed = [canonicalize_name(Requirement(line).name) for line in LISTED]
allowed, todo = {'crossearth', 'packaging'}, list(listed)
while todo:
    name = todo.pop()
    if name in allowed:
        continue
    try:
        required = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        continue
    allowed.add(name)
    todo += [
        canonicalize_name(one.name)
        for one in map(Requirement, required)
        if one.marker is None or one.marker.evaluate({'extra': ''})
    ]
modules = {
    module: {canonicalize_name(name) for name in names}
    for module, names in metadata.packages_distributions().items()
}
refused = {module for module, names in modules.items() if not names & allowed}
assert {'lightning', 'torchgeo', 'kornia', 'matplotlib', 'pandas', 'geopandas'} <= refused


class Listed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition('.')[0] in refused:
            return None
        return super().find_spec(name, path, target)


sys.meta_path = [Listed if finder is PathFinder else finder for finder in sys.meta_path]
from crossearth.cli import main

for words in COMMANDS:
    assert main(words) == 0, words
used = {name for module in sys.modules for name in modules.get(module.partition('.')[0], ())}
assert sorted(set(listed) - used) == [], 'listed, but not used'
"""


@pytest.mark.slow
def test_predict_and_vectorize_need_the_listed_packages_and_no_others(write_raster, tmp_path):
    rng = np.random.default_rng(0)
    scene = write_raster('scene.tif', rng.integers(0, 255, (3, 40, 50), np.uint8))
    model = fpn_timm('test_resnet', num_classes=2, width=8)
    save_model(model, tmp_path / 'model.safetensors', labels=BUILDING)
    weights, made = str(tmp_path / 'model.safetensors'), str(tmp_path / 'map.tif')
    shapes = str(tmp_path / 'shapes.gpkg')
    commands = [
        ['predict', str(scene), made, '--weights', weights, '--quiet'],
        ['sieve', made, str(tmp_path / 'sieved.tif'), '--min-pixels', '4'],
        ['vectorize', made, shapes, '--simplify-m', '1', '--background'],
    ]
    done = subprocess.run(
        [sys.executable, '-c', f'LISTED = {LISTED!r}\nCOMMANDS = {commands!r}\n{SCRIPT}'],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert Path(shapes).is_file()


def test_the_list_has_the_bounds_of_the_whole_installation():
    with (ROOT / 'pyproject.toml').open('rb') as file:
        whole = tomllib.load(file)['project']['dependencies']
    assert [line for line in LISTED if line not in whole] == []
    assert sorted(LISTED) == LISTED
