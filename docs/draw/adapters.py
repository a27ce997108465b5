"""Where each adapter sits in a block, and what share of the backbone it trains."""

from pathlib import Path
from typing import get_args

import torch
from _diagram import Diagram

from crossearth.errors import ConfigError
from crossearth.models import adapted_fpn
from crossearth.models.adapted import AdapterName
from crossearth.visualization import PALETTE

NETWORKS = {'tiny_vit_5m_224': 'TinyViT-5M', 'tf_efficientnet_lite0': 'EfficientNet-lite0'}
DRAWN = ('lora', 'soma', 'rein', 'lora_rein', 'earth', 'gate')  # the others train nothing, or all
COLUMN = 2.3  # inches: left of it the backbone, right of it what is added


def draw(folder: Path) -> None:
    """Write `adapters-where.svg` and `adapters-share.svg`."""
    _draw_places(folder / 'adapters-where.svg')
    _draw_shares(folder / 'adapters-share.svg')


def _draw_places(path: Path) -> None:
    sheet = Diagram(4.6, 5.2)
    sheet.text((1.15, 0.15), 'one block', bold=True)
    sheet.text((3.45, 0.15), 'what is added', bold=True)
    sheet.box((0.1, 0.62, 2.1, 2.86), kind='plain')
    attention = sheet.box((0.25, 0.8, 1.8, 1.05), 'attention', 'frozen')
    mlp = sheet.box((0.25, 2.25, 1.8, 1.05), 'MLP, or\nconvolutions', 'frozen')
    sheet.text((1.15, 0.38), 'features of the block before', size=9)
    sheet.arrow((1.15, 0.46), attention.top)
    sheet.arrow(attention.bottom, mlp.top)
    after = sheet.box((0.25, 3.75, 1.8, 0.44), 'refined features $f$', 'data')
    sheet.arrow(mlp.bottom, after.top)
    sheet.arrow(after.bottom, (1.15, 4.36))
    sheet.text((1.15, 4.45), 'to the next block', size=9)

    def added(y: float, height: float, text: str, onto: float) -> None:
        box = sheet.box((COLUMN + 0.35, y, 1.85, height), text, 'trained', size=9)
        sheet.arrow((box.x, onto), (2.05, onto), colour='#d98a00')

    added(0.62, 0.78, 'LoRA, SoMA:\n$W + BA$ in every\ndense layer', 1.1)
    added(1.46, 0.44, 'Gate: LoRA on $q$, $v$', 1.65)
    added(2.2, 0.6, 'LoRA, SoMA:\nas above', 2.5)
    added(2.9, 0.6, 'Gate: a bottleneck\nnext to the MLP', 3.1)
    added(3.62, 0.88, 'Rein, LoRA-Rein,\nEarth-Adapter, Gate:\nafter the block', 3.97)
    sheet.key((0.1, 4.75), [('frozen', 'pretrained, frozen', 1.9), ('trained', 'trained', 1.0)])
    sheet.text(
        (0.1, 5.03), 'In a hierarchy, "after the block" is after a stage.', size=9, ha='left'
    )
    sheet.save(path)


def _shares(network: str) -> dict[str, float | None]:
    """Trained numbers by adapter, in percent of the backbone's own; None where it is refused."""
    counts: dict[str, tuple[int, int] | None] = {}
    for adapter in get_args(AdapterName):
        try:
            with torch.device('meta'):
                backbone = adapted_fpn(network, adapter, num_classes=6).backbone
        except ConfigError:
            counts[adapter] = None
            continue
        sizes = [(p.numel(), p.requires_grad) for p in backbone.parameters()]
        counts[adapter] = (sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained))
    assert counts['frozen'] is not None
    own = counts['frozen'][0]
    return {name: None if found is None else 100 * found[1] / own for name, found in counts.items()}


def _draw_shares(path: Path) -> None:
    sheet = Diagram(4.6, 3.7)
    axes = sheet.figure.add_axes((0.17, 0.14, 0.78, 0.72))
    for row, (network, title) in enumerate(NETWORKS.items()):
        found = {name: share for name, share in _shares(network).items() if name in DRAWN}
        for place, share in enumerate(found.values()):
            y = place + (row - 0.5) * 0.38
            if share is None:
                axes.text(0.2, y, 'refused', va='center', fontsize=9)
                continue
            axes.barh(y, share, 0.36, color=PALETTE[row], label=title if place == 1 else None)
            axes.text(share + 0.2, y, f'{share:.1f} %', va='center', fontsize=9)
        axes.set_yticks(range(len(found)), list(found), fontsize=9.5)
    axes.set(xlim=(0, 20), ylim=(5.6, -0.6), xticks=range(0, 21, 5))
    axes.set_xlabel('trained share of the backbone, %', fontsize=9.5)
    axes.tick_params(axis='x', labelsize=9)
    axes.spines[['top', 'right']].set_visible(False)
    sheet.figure.legend(loc='upper center', ncols=2, frameon=False, fontsize=9.5)
    sheet.save(path)
