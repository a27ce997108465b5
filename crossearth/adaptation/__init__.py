"""Models adapted to the scenes that they are to map, without labels and without training data.

Windows of the scenes (`windows`) go through one of three methods (`norms`, `entropy`,
`self_training`). A report says how far the scenes are from what the model was trained on (`gap`),
what has changed (`change`), and whether the adapted model is advised (`advice`).
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
