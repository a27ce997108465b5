"""What parts cost next to those of other libraries, from the ratios that the tests compare with."""

import json
from pathlib import Path

from matplotlib.figure import Figure

from crossearth.visualization import PALETTE

_RATIOS = Path(__file__).parents[2] / 'performance/ratios.json'
_CASES = {
    'confusion': 'confusion matrix\nnext to torchmetrics',
    'photometric': 'photometric distortion\nnext to torchvision',
    'attention': 'deformable attention\nnext to grid_sample',
    'attention_training': '… with gradients',
    'scale_crop': 'scaling and cropping\nnext to torchvision',
    'rein_vit': 'vision transformer\nnext to timm',
    'windows': 'windows of a dataset\nnext to rasterio',
}


def draw(folder: Path) -> None:
    """Write `speed-peers.png`."""
    ratios = json.loads(_RATIOS.read_text())['ratios']
    values = [ratios[name] for name in _CASES]
    figure = Figure(figsize=(5.6, 4.4), layout='constrained')
    axes = figure.subplots()
    colours = [PALETTE[0] if value <= 1 else PALETTE[4] for value in values]
    bars = axes.barh(list(_CASES.values()), values, color=colours, height=0.6)
    axes.bar_label(bars, [f'{value:.2f}' for value in values], padding=4, fontsize=10)
    axes.axvline(1, color='#444444', linewidth=1, linestyle='--')
    axes.set_xlim(0, 1.5)
    axes.set_xlabel('CPU time, the other library = 1', fontsize=10)
    axes.tick_params(labelsize=9.5)
    axes.invert_yaxis()
    axes.spines[['top', 'right']].set_visible(False)
    figure.savefig(folder / 'speed-peers.png', dpi=160, bbox_inches='tight')
