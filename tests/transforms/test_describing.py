import torch

from crossearth.transforms import (
    EarthStyle,
    FourierStyle,
    PatchMask,
    PhotometricDistortion,
    RandConv,
    RandomScaleCrop,
    SensorSimulation,
)


def test_transforms_name_all_their_plain_arguments():
    assert repr(PatchMask(16, 0.5)) == (
        "PatchMask(patch_size=16, ratio=0.5, polarity='masked', grid='paper', "
        'generator=None, prompt=0)'
    )
    prompt = torch.nn.Parameter(torch.zeros(3, 1, 1))
    assert 'prompt=(3, 1, 1)' in repr(PatchMask(16, 0.5, prompt=prompt, polarity='kept'))
    assert repr(FourierStyle(torch.rand(5, 3, 8, 8), p=0.25)) == (
        'FourierStyle(beta=0.01, alpha_range=(0, 1), p=0.25, patch_size=None, ratio=0.5, '
        "polarity='release', grid='paper', bands=(0, 1, 2), nodata=0, "
        "generator=None, draw_per='sample', style_images=5)"
    )
    assert repr(RandomScaleCrop(64)).startswith('RandomScaleCrop(size_px=64, scale_range=(0.5, 2)')
    assert 'hue=0.1' in repr(PhotometricDistortion(hue=0.1))
    assert 'sizes=(3, 5)' in repr(RandConv(sizes=(3, 5)))
    assert 'bits=(6, 8), quality=(50, 95)' in repr(SensorSimulation())


def test_transforms_with_modules_show_them():
    class Wrapped(PatchMask):
        def __init__(self):
            super().__init__(4, 0.5)
            self.inner = torch.nn.ReLU()

    assert '(inner): ReLU()' in repr(Wrapped())


def test_an_earth_style_says_where_it_comes_from_and_not_its_numbers():
    style = EarthStyle(torch.zeros(2), torch.eye(2), {'source': 'fields', 'num_images': '8'})
    assert repr(style) == (
        "EarthStyle(provenance={'source': 'fields', 'num_images': '8'}: 2 dimensions)"
    )
