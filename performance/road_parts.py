"""What `performance/roads.yaml` is made of: a CNN, style injection, images of several folders."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from crossearth.datasets import SceneDataset
from crossearth.models import CrossEarth
from crossearth.models.backbones import TimmPyramid
from crossearth.models.decoders import FPNDecoder, MultiStageASPP
from crossearth.models.segmenter import IMAGENET_MEAN, IMAGENET_STD
from crossearth.models.style import light_style_networks
from crossearth.models.weights.pretrained import create_timm
from crossearth.transforms import EarthStyle, EarthStyleInjection, StyleImageFolder

WIDTH = 64


def efficientnet_fpn(weights: str, *, num_classes: int, restores: bool = False) -> nn.Module:
    """EfficientNet-lite0 with ImageNet weights under an FPN, all of it trained.

    Args:
        weights: The file of the encoder's weights.
        num_classes: Number of classes.
        restores: Whether it can also restore masked images.
    """
    encoder = TimmPyramid(create_timm('tf_efficientnet_lite0', pretrained=weights))
    return CrossEarth(
        encoder,
        FPNDecoder(encoder.channels, num_classes, width=WIDTH),
        MultiStageASPP(encoder.channels, width=WIDTH) if restores else None,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def light_style(
    networks: str, styles: str, fitted: str, *, p: float = 0.5, alpha: float = 1.0
) -> nn.Module:
    """`EarthStyleInjection` of whole images by the light style networks.

    Args:
        networks: Folder of `arbitrary_predict.onnx` and `arbitrary_transform.onnx`.
        styles: Folder of the images that styles are fitted to.
        fitted: File that the fitted styles are kept in.
        p: Share of styled samples.
        alpha: Weight of the drawn style.
    """
    folder = Path(networks)
    pair = light_style_networks(
        folder / 'arbitrary_predict.onnx', folder / 'arbitrary_transform.onnx'
    )
    if not Path(fitted).exists():
        EarthStyle.fit(StyleImageFolder(styles), pair.predictor).save(fitted)
    return EarthStyleInjection(
        EarthStyle.load(fitted), *pair, patch_size=None, ratio=1.0, alpha=alpha, p=p
    )


def gather(datasets: Sequence[SceneDataset]) -> SceneDataset:
    """The scenes of several datasets with one encoding of masks as those of one domain."""
    scenes = [scene for dataset in datasets for scene in dataset.scenes]
    return SceneDataset(scenes, datasets[0].labels, codec=datasets[0].codec)
