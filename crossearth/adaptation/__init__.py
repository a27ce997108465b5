"""Adapts models to the scenes that they will map, without labels and without training data.

Windows of the scenes (`windows`) go through one of three methods (`norms`, `entropy`,
`self_training`). A report tells how far the scenes are from the training data (`gap`), what has
changed (`change`), and whether we recommend the adapted model (`advice`).
"""

from crossearth.adaptation.adapt import Adaptation, adapt_file, adapt_model
from crossearth.adaptation.advice import Advice
from crossearth.adaptation.change import Change
from crossearth.adaptation.entropy import Tent
from crossearth.adaptation.gap import Gap
from crossearth.adaptation.method import AdaptationMethod
from crossearth.adaptation.norms import Norms
from crossearth.adaptation.report import Report
from crossearth.adaptation.self_training import PseudoLabels

__all__ = [
    'Adaptation',
    'AdaptationMethod',
    'Advice',
    'Change',
    'Gap',
    'Norms',
    'PseudoLabels',
    'Report',
    'Tent',
    'adapt_file',
    'adapt_model',
]
