"""Which encoders work, at which image sizes and bands? Prints Markdown tables by running them.

    python performance/encoders.py foundation > foundation.md
    python performance/encoders.py pyramids > pyramids.md

`foundation` runs every encoder of `list_encoders` on images of several sizes and bands. Encoders
are reduced to one block with random weights, so nothing is downloaded. `pyramids` runs one small
model of every timm family with maps at two or more strides under `fpn_timm`. `--format csv` writes
CSV. Each table takes about ten minutes and 4 GB on one CPU core.
"""

import argparse
import csv
import io
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import timm
import torch
from torch import nn

from crossearth.errors import CrossEarthError
from crossearth.models import foundation_fpn, fpn_timm
from crossearth.models.encoders import EncoderSummary, list_encoders

SIZES = ((64, 96), (250, 330), (512, 512))
# centre and width in micrometres of Sentinel-2's bands, B1 to B12 with B8A after B8
SENTINEL2 = {
    'B1': (0.443, 0.021), 'B2': (0.490, 0.066), 'B3': (0.560, 0.036), 'B4': (0.665, 0.031),
    'B5': (0.704, 0.015), 'B6': (0.741, 0.015), 'B7': (0.783, 0.020), 'B8': (0.833, 0.106),
    'B8A': (0.865, 0.021), 'B9': (0.945, 0.020), 'B10': (1.374, 0.031), 'B11': (1.614, 0.091),
    'B12': (2.202, 0.175),
}  # fmt: skip
BANDS = {
    'R-G-B': ('B4', 'B3', 'B2'),
    'IR-R-G': ('B8', 'B4', 'B3'),
    'R-G-B-IR': ('B4', 'B3', 'B2', 'B8'),
    '12': tuple(name for name in SENTINEL2 if name != 'B10'),
    '13': tuple(SENTINEL2),
}
# one small model of each family of timm that has maps at two or more of the strides 4 to 32
FAMILIES = (
    'eca_botnext26ts_256', 'mobileone_s1', 'coat_tiny', 'coatnet_nano_rw_224', 'convnext_atto',
    'cpubone_nano', 'csatv2', 'cs3darknet_focus_s', 'cspnext_tiny', 'davit_tiny', 'densenet121',
    'dla34', 'dpn48b', 'edgenext_xx_small', 'efficientformer_l1', 'efficientformerv2_s0',
    'efficientnet_lite0', 'efficientvim_m1', 'efficientvit_b0', 'efficientvit_m0', 'fasternet_t0',
    'fastvit_t8', 'focalnet_tiny_srf', 'gcvit_xxtiny', 'ghostnet_050', 'hardcorenas_b',
    'hgnetv2_b0', 'hiera_tiny_224', 'sam2_hiera_tiny', 'hrnet_w18_small', 'iformer_t',
    'inception_next_atto', 'inception_resnet_v2', 'inception_v3', 'inception_v4', 'lcnetv2_small',
    'levit_128s', 'lowformer_b0', 'test_mambaout', 'maxvit_pico_rw_256', 'poolformerv2_s12',
    'mobilenetv3_small_050', 'mobilenetv5_base', 'mobilevit_xxs', 'mvitv2_tiny', 'nasnetalarge',
    'nest_tiny', 'nextvit_small', 'nf_regnet_b0', 'pit_ti_224', 'pnasnet5large', 'pvt_v2_b0',
    'rdnet_tiny', 'regnetx_002', 'repghostnet_050', 'repvit_m1', 'res2next50', 'resnest14d',
    'resnet10t', 'resnetv2_18', 'rexnet_100', 'selecsls42', 'legacy_seresnet18', 'shvit_s1',
    'skresnet18', 'starnet_s050', 'swiftformer_xs', 'swin_tiny_patch4_window7_224',
    'swinv2_tiny_window16_256', 'swinv2_cr_tiny_224', 'tiny_vit_5m_224', 'tresnet_m',
    'twins_svt_small', 'vgg11', 'visformer_tiny', 'volo_d1_224', 'ese_vovnet19b_slim_dw',
    'legacy_xception', 'xception41p',
)  # fmt: skip


def with_numbers(build: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """Build a model with small random weights, without its own slow initialisation."""
    with torch.device('meta'):
        model = build(*args, **kwargs)
    model = model.to_empty(device='cpu').eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.02, 0.02)
        for buffer in model.buffers():
            buffer.fill_(1 if buffer.is_floating_point() else 0)
    return model


def maps(model: nn.Module, bands: int, height: int, width: int) -> bool:
    """Whether the logits of an image are finite and of its size."""
    with torch.inference_mode():
        logits = model(torch.rand(1, bands, height, width))
    return logits.shape[2:] == (height, width) and bool(logits.isfinite().all())


def foundation() -> Iterator[list[str]]:
    """Rows of the table of foundation encoders."""
    yield [
        'encoder', 'parameters', 'finest stride, px', 'takes', 'bands that work',
        'sizes that work, px', 'published weights are for', 'licence of weights', 'source',
    ]  # fmt: skip
    for encoder in list_encoders():
        bands = [name for name in [*BANDS, '2'] if _works(encoder, name, SIZES[0])]
        first = bands[0]
        fits = [size for size in SIZES if _affordable(encoder, size)]
        sizes = [f'{h}x{w}' for h, w in fits if _works(encoder, first, (h, w))]
        yield [
            encoder.name,
            f'{encoder.parameters / 1e6:.1f} M',
            f'{encoder.finest_stride_px:g}',
            ', '.join(encoder.takes) or '-',
            ', '.join(bands),
            ', '.join(sizes),
            encoder.trained_on,
            encoder.licence,
            encoder.licence_source,
        ]
        print(encoder.name, file=sys.stderr)


def _affordable(encoder: EncoderSummary, size: tuple[int, int]) -> bool:
    """Whether it fits in memory: CROMA at 512 px needs 1 GB per head and image for attention."""
    return not (encoder.name.startswith('croma') and size == (512, 512))


def _works(encoder: EncoderSummary, bands: str, size: tuple[int, int]) -> bool:
    names = BANDS.get(bands, ('VV', 'VH'))
    told: dict[str, Any] = {'in_channels': len(names)}
    if 'wavelengths_um' in encoder.takes:
        if bands == '2':
            return False
        told['wavelengths_um'] = [SENTINEL2[name][0] for name in names]
    if 'bandwidths_um' in encoder.takes:
        told['bandwidths_um'] = [SENTINEL2[name][1] for name in names]
    if 'gsd_m' in encoder.takes:
        told['gsd_m'] = 10.0
    if not encoder.name.startswith('swin'):
        told['depth'] = 1
    try:
        model = with_numbers(foundation_fpn, encoder.name, num_classes=2, width=8, **told)
    except CrossEarthError:
        return False
    return maps(model, len(names), *size)


def pyramids() -> Iterator[list[str]]:
    """Rows of the table of timm's families."""
    yield ['family', 'model', 'parameters', 'own strides', 'images']
    for name in FAMILIES:
        module = timm.models.model_entrypoint(name).__module__.rpartition('.')[2]
        try:
            model = with_numbers(fpn_timm, name, num_classes=2, width=8)
            backbone: Any = model.backbone
            parameters = sum(p.numel() for p in backbone.parameters())
            head = [
                module,
                name,
                f'{parameters / 1e6:.1f} M',
                ', '.join(map(str, backbone.strides)),
            ]
            yield [*head, _images(name, model, backbone.img_size)]
        except CrossEarthError as error:
            yield [module, name, '-', '-', f'refused: {error}']
        print(name, file=sys.stderr)


def _images(name: str, model: nn.Module, own: tuple[int, int]) -> str:
    """Which images a pyramid takes: any size, a size to build it for, or none, with the reason."""
    try:
        if all(maps(model, 3, *size) for size in ((64, 96), (100, 130), (224, 224))):
            return 'any size'
        return 'not finite'
    except CrossEarthError as error:
        if 'cut off borders' in str(error):
            return f'refused: {error}'
    try:
        if not maps(model, 3, *own):
            return 'not finite'
        for size in ((64, 96), (128, 128)):
            try:
                if maps(
                    with_numbers(fpn_timm, name, num_classes=2, width=8, img_size=size), 3, *size
                ):
                    square = ', squares only' if size == (128, 128) else ''
                    return f'the size it is built for (img_size=…{square})'
            except CrossEarthError as error:
                reason = str(error)
        return f'{own[0]}x{own[1]} px only ({reason})'
    except CrossEarthError as error:
        return f'refused: {error}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('table', choices=('foundation', 'pyramids'))
    parser.add_argument('--format', choices=('markdown', 'csv'), default='markdown')
    arguments = parser.parse_args()
    warnings.simplefilter('ignore')
    rows = foundation() if arguments.table == 'foundation' else pyramids()
    for number, row in enumerate(rows):
        if arguments.format == 'csv':
            line = io.StringIO()
            csv.writer(line).writerow(row)
            print(line.getvalue().rstrip('\r\n'), flush=True)
            continue
        print('| ' + ' | '.join(cell.replace('|', '/') for cell in row) + ' |', flush=True)
        if number == 0:
            print('|' + '---|' * len(row), flush=True)


if __name__ == '__main__':
    main()
