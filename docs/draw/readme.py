"""The picture of the README: one labelled domain, and domains that training has not seen.

The repository keeps it for pages that show the README without building the documentation.
`python docs/draw/readme.py` draws it again.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from crossearth.labels import ISPRS
from crossearth.synthetic import EARTH_DOMAINS, SyntheticEarth

SHOWN = {
    'source': 'labelled:\nthe source',
    'region': 'unseen:\nplace',
    'region_band': 'unseen: place\nand bands',
    'region_climate': 'unseen: place\nand climate',
}
SIDE_PX = 230
PALETTE_SIZE = 96  # colours of the file, which keep it below 150 kB


def draw(folder: Path) -> None:
    """Write `readme-domains.png`: scenes above, the classes that a map should show below."""
    earth = SyntheticEarth(seed=0)
    figure, axes = plt.subplots(2, len(SHOWN), figsize=(9.6, 5.5), layout='constrained')
    colours = np.asarray(ISPRS.palette, dtype=np.uint8)
    for column, (name, title) in zip(axes.T, SHOWN.items(), strict=True):
        scene = earth.draw(EARTH_DOMAINS[name], index=1, height=SIDE_PX, width=SIDE_PX)
        image = np.asarray(scene.image)
        image = image.transpose(1, 2, 0) if image.shape[0] in (3, 4) else image
        column[0].imshow(image[..., :3])
        column[0].set_title(title, fontsize=17)
        column[1].imshow(colours[np.asarray(scene.mask)])
        for axis in column:
            axis.set_axis_off()
    path = folder / 'readme-domains.png'
    figure.savefig(path, dpi=100, facecolor='white')
    plt.close(figure)
    with Image.open(path) as drawn:
        small = drawn.convert('RGB').quantize(PALETTE_SIZE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == '__main__':
    draw(Path(__file__).parents[1] / 'images')
