"""CrossEarth's architecture, with the shapes and sizes that the library itself gives."""

from pathlib import Path

import torch
from _diagram import Diagram
from torch import nn

from crossearth.models import crossearth_vit_large

SIDE_PX = 512


def _millions(part: nn.Module) -> str:
    return f'{sum(p.numel() for p in part.parameters()) / 1e6:.2f} M'


def _shape(tensor: torch.Tensor) -> str:
    return ' × '.join(map(str, tensor.shape[1:]))


def draw(folder: Path) -> None:
    """Write `models-crossearth.svg`."""
    with torch.device('meta'):  # shapes without numbers: nothing is downloaded or computed
        model = crossearth_vit_large(6, img_size=SIDE_PX).eval()
        image = torch.empty(1, 3, SIDE_PX, SIDE_PX)
        with torch.no_grad():
            features = model.encode(image)
            patches = model.backbone.vit.patch_embed(image).flatten(1, 2)
            queries = model.backbone.extractor(image)
            masks = model.decoder.pixel_decoder(features)[0]
            logits = model(image)
            restored = model.restore(image)

    rows, width = patches.shape[1:]
    sheet = Diagram(4.6, 8.3)
    sheet.box((0.6, 0.1, 3.4, 0.46), f'normalised image\n{_shape(image)}', 'data')
    embed = sheet.box(
        (0.1, 0.9, 2.4, 0.5), f'patch embedding, 16 px\n{rows} patches × {width}', 'frozen'
    )
    sheet.box(
        (2.8, 0.85, 1.7, 0.8),
        f'extractor (GSE)\n5 convolutions\n{_shape(queries)}\n'
        f'{_millions(model.backbone.extractor)}',
        'trained',
        size=9,
    )
    sheet.arrow((1.3, 0.56), (1.3, 0.9))
    sheet.arrow((3.65, 0.56), (3.65, 0.85))

    # one block, of which there are 24
    sheet.box((0.1, 1.8, 4.4, 2.1), kind='plain')
    sheet.axes.patches[-1].set_zorder(0)
    sheet.box((0.3, 2.0, 2.2, 0.46), 'transformer block $i$', 'frozen')
    sheet.box((0.3, 2.75, 1.6, 0.62), f'LoRA-Rein\n{_millions(model.backbone.adapter)}', 'trained')
    sheet.box((2.75, 2.75, 1.6, 0.62), f'injector\n{_millions(model.backbone.injector)}', 'trained')
    sheet.arrow(embed.bottom, (1.3, 2.0))
    sheet.arrow((3.65, 1.65), (3.65, 2.75))
    sheet.arrow((1.1, 2.46), (1.1, 2.75))
    sheet.arrow((2.3, 2.46), (2.3, 3.06), (2.75, 3.06))
    sheet.arrow((1.1, 3.37), (1.1, 3.62), (2.18, 3.62))
    sheet.arrow((3.55, 3.37), (3.55, 3.62), (2.42, 3.62))
    sheet.text((2.3, 3.62), '+', size=12, bold=True)
    sheet.text((4.42, 2.05), f'{model.backbone.depth} times', size=9, ha='right', bold=True)

    sheet.arrow((2.3, 3.72), (2.3, 4.2))
    taken = ', '.join(str(index + 1) for index in model.backbone.indices)
    pyramid = '\n'.join(
        f'stride {stride}: {_shape(level)}'
        for stride, level in zip((4, 8, 16, 32), features.maps, strict=True)
    )
    maps = sheet.box(
        (0.6, 4.2, 3.4, 1.0), f'features of blocks {taken}, resized\n{pyramid}', 'data', size=9
    )
    decoder = sheet.box(
        (0.1, 5.65, 2.65, 1.1),
        f'Mask2Former, {_millions(model.decoder)}\n'
        f'pixel decoder: {_shape(masks)}\n'
        f'9 layers, {features.queries.shape[0]} queries\nlinked from Rein',
        'trained',
        size=9,
    )
    restorer = sheet.box(
        (2.95, 5.65, 1.55, 1.1),
        f'restorer\nmulti-stage ASPP\n{_millions(model.restorer)}',
        'trained',
        size=9,
    )
    sheet.arrow((1.425, maps.bottom[1]), decoder.top)
    sheet.arrow((3.725, maps.bottom[1]), restorer.top)
    left = sheet.box((0.1, 7.1, 2.65, 0.46), f'logits\n{_shape(logits)}', 'data')
    right = sheet.box(
        (2.95, 7.1, 1.55, 0.46), f'restored image\n{_shape(restored)}', 'data', size=9
    )
    sheet.arrow(decoder.bottom, left.top)
    sheet.arrow(restorer.bottom, right.top)

    total = sum(p.numel() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    sheet.key(
        (0.1, 7.8),
        [
            ('frozen', f'frozen, {(total - trained) / 1e6:.1f} M', 2.2),
            ('trained', f'trained, {trained / 1e6:.1f} M', 2.0),
        ],
    )
    sheet.text((0.1, 8.1), 'Restoring leaves extractor and injector out.', size=9, ha='left')
    sheet.save(folder / 'models-crossearth.svg')
