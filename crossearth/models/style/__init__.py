"""Style networks: what an image's style is, and the image in another style.

A predictor turns an image into a style embedding, and a transformer repaints an image in the style
of an embedding. Both are frozen, and `weights` loads the published ones. The transforms
`StyleInjection` and `EarthStyleInjection` use them.
"""

from crossearth.models.style.frozen import FrozenModule
from crossearth.models.style.predictor import MobileStylePredictor, StylePredictor
from crossearth.models.style.transformer import GhiasiTransformer
from crossearth.models.style.weights import (
    GhiasiTransformer_Weights,
    StyleNetworks,
    StylePredictor_Weights,
    light_style_networks,
    load_style_predictor,
    load_style_transformer,
    released_style_networks,
    style_augmentation_networks,
)

__all__ = [
    'FrozenModule',
    'GhiasiTransformer',
    'GhiasiTransformer_Weights',
    'MobileStylePredictor',
    'StyleNetworks',
    'StylePredictor',
    'StylePredictor_Weights',
    'light_style_networks',
    'load_style_predictor',
    'load_style_transformer',
    'released_style_networks',
    'style_augmentation_networks',
]
