"""The pictures of maps and of labelling in QGIS, taken of QGIS itself.

The repository keeps them, as drawing them with the documentation would need QGIS. This draws them
again, where `qgis` and `xvfb-run` are installed:

    python docs/qgis/pictures.py
"""

import os
import runpy
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from crossearth.assessment import SampleSize, draw_sample
from crossearth.inference import predict_scene
from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

HERE = Path(__file__).parent
SIDE_PX = 512
PALETTE_SIZE = 128  # colours of a file, which keep it below 200 kB


def write_pictures(folder: Path) -> None:
    """Write `qgis-map.png` and `qgis-labelling.png`."""
    small_model = runpy.run_path(str(HERE.parent / 'draw' / '_small_model.py'))['small_model']
    with tempfile.TemporaryDirectory(dir=HERE) as temporary:
        work = Path(temporary)
        earth = SyntheticEarth(seed=1)  # other places than the small model was trained on
        ((scene, _),) = earth.write(work, EARTH_DOMAINS['source'], scenes=1, size_px=SIDE_PX)
        scene = scene.rename(work / 'scene.tif')
        predict_scene(small_model(work), scene, work / 'map.tif', labels=ISPRS)
        draw_sample(
            work / 'map.tif',
            work / 'sample',
            size=SampleSize(n=60, least=10),
            scene=scene,
        )
        for name in ('map', 'labelling'):
            _take(name, work, folder / f'qgis-{name}.png')


def _take(name: str, work: Path, path: Path) -> None:
    screen = ['xvfb-run', '-a', '-s', '-screen 0 1300x900x24']
    profile = ['--profiles-path', str(work / 'profile')]
    subprocess.run(
        [*screen, 'qgis', '--nologo', '--noversioncheck', *profile, '--code', HERE / 'in_qgis.py'],
        env=os.environ | {'PICTURE': name, 'WORK': str(work), 'WRITTEN': str(path)},
        check=True,
        timeout=120,
    )
    with Image.open(path) as taken:
        small = taken.convert('RGB').quantize(PALETTE_SIZE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == '__main__':
    write_pictures(HERE)
