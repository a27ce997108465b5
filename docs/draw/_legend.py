"""The classes of the synthetic Earth as a legend below a figure."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from crossearth.labels import ISPRS


def class_legend(figure: Figure) -> None:
    """Add names and colours of all classes, below everything else."""
    figure.legend(
        handles=[
            Patch(facecolor=np.divide(colour, 255), edgecolor='black', linewidth=0.5, label=name)
            for name, colour in zip(ISPRS.classes, ISPRS.palette, strict=True)
        ],
        loc='outside lower center',
        ncols=3,
        frameon=False,
    )
