"""A released checkpoint all the way: converted, loaded, slid over a scene as it was tested."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch import Tensor, nn

from crossearth.commands.weights import add_arguments, run
from crossearth.inference import Outputs, Windows, predict_scene
from crossearth.models import crossearth_vit_small, load_model, read_model_info
from tests.models.weights.test_release_files import released_state

TILE, STRIDE = 512, 341


class Spread(nn.Module):
    """A class for each range of a logit: random weights rank all pixels alike, for every class."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.model = model
        self.mean = example.mean((0, 2, 3), keepdim=True)
        self.deviation = example.std((0, 2, 3), keepdim=True)

    def forward(self, image: Tensor) -> Tensor:
        centres = torch.linspace(-1.5, 1.5, 6).view(1, 6, 1, 1)
        return -(((self.model(image) - self.mean) / self.deviation - centres) ** 2)


@pytest.mark.slow
def test_a_converted_release_slides_as_the_reference_averages_logits(
    tmp_path: Path, write_scene: Callable[..., Path]
) -> None:
    """Windows of 512 px every 341, the last at the border, logits averaged: float64 by hand."""
    torch.manual_seed(0)
    built = crossearth_vit_small(6, img_size=TILE, geospatial=False, restorer=None).eval()
    head, backbone = released_state(built)
    torch.save({'state_dict': head}, tmp_path / 'Potsdam(i)-source.pth')
    torch.save(backbone, tmp_path / 'dinov2_converted.pth')
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    converted = tmp_path / 'converted.safetensors'
    words = ['convert', tmp_path / 'Potsdam(i)-source.pth', '--output', converted]
    words += ['--backbone', tmp_path / 'dinov2_converted.pth']
    run(parser.parse_args([str(word) for word in words]))

    noise = np.random.default_rng(0).integers(0, 256, (3, 70, 60), dtype=np.uint8)
    pixels = noise.repeat(10, 1).repeat(10, 2)
    scene = write_scene(pixels)
    image = torch.from_numpy(pixels).float()[None] / 255
    with torch.no_grad():
        first = built(image[..., :TILE, :TILE])
    made = predict_scene(
        Spread(load_model(converted).eval(), first),
        scene,
        tmp_path / 'map.tif',
        windows=Windows(tile_px=TILE, stride_px=STRIDE, blend='mean', combine='logits'),
        labels=read_model_info(converted).labels,
        outputs=Outputs(probabilities=tmp_path / 'probabilities.tif'),
    )
    assert made.windows == 4

    spread = Spread(built, first)
    total = torch.zeros(6, 700, 600, dtype=torch.float64)
    count = torch.zeros(700, 600, dtype=torch.float64)
    for top in (0, 700 - TILE):
        for left in (0, 600 - TILE):
            window = (..., slice(top, top + TILE), slice(left, left + TILE))
            with torch.no_grad():
                total[window] += spread(image[window])[0].double()
            count[window] += 1
    logits = total / count
    assert count.max() == 4
    best = logits.topk(2, 0).values
    sure = (best[0] - best[1] > 1e-3).numpy()
    expected = logits.argmax(0).numpy()
    assert len(np.unique(expected)) == 6
    assert sure.mean() > 0.99
    with rasterio.open(tmp_path / 'map.tif') as labels:
        assert np.array_equal(labels.read(1)[sure], expected[sure])
    with rasterio.open(tmp_path / 'probabilities.tif') as probabilities:
        found = probabilities.read() / 254
    assert np.abs(found - logits.softmax(0).numpy()).max() < 1 / 254
