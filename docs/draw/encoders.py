"""Foundation encoders by size, by what they are told of bands, and by the stride of their maps."""

from pathlib import Path

from _diagram import Diagram

from crossearth.models import EncoderSummary, list_encoders
from crossearth.visualization import PALETTE

BANDS = ('told the wavelengths', 'fixed sensors', 'any number of bands')
STRIDES = {2.0: '^', 3.5: 's', 4.0: 'o'}


def _bands_of(encoder: EncoderSummary) -> str:
    if 'wavelengths_um' in encoder.takes:
        return BANDS[0]
    return BANDS[1] if encoder.name.startswith('croma') else BANDS[2]


def draw(folder: Path) -> None:
    """Write `encoders-size.svg`."""
    encoders = sorted(
        list_encoders(), key=lambda one: (BANDS.index(_bands_of(one)), one.parameters)
    )
    sheet = Diagram(4.8, 7.3)
    axes = sheet.figure.add_axes((0.585, 0.07, 0.395, 0.84))
    for place, encoder in enumerate(encoders):
        axes.semilogx(
            encoder.parameters / 1e6,
            place,
            STRIDES[encoder.finest_stride_px],
            color=PALETTE[BANDS.index(_bands_of(encoder))],
            markersize=6.5,
        )
    axes.set_yticks(range(len(encoders)), [one.name for one in encoders], fontsize=9)
    axes.set(xlim=(15, 12000), ylim=(len(encoders) - 0.4, -0.6))
    axes.set_xticks([20, 100, 1000, 7000], ['20 M', '100 M', '1 G', '7 G'], fontsize=9)
    axes.minorticks_off()
    axes.grid(color='#d0d7de', linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.set_xlabel('parameters', fontsize=9.5)
    by_bands = [
        axes.plot([], [], 'o', color=PALETTE[i], label=name)[0] for i, name in enumerate(BANDS)
    ]
    by_stride = [
        axes.plot([], [], marker, color='#4b5563', linestyle='', label=f'stride {stride:g} px')[0]
        for stride, marker in STRIDES.items()
    ]
    for handles, x in (by_bands, 0.0), (by_stride, 0.56):
        sheet.figure.legend(
            handles=handles,
            loc='upper left',
            bbox_to_anchor=(x, 1.005),
            frameon=False,
            fontsize=9.5,
        )
    sheet.save(folder / 'encoders-size.svg')
