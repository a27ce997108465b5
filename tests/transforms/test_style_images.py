from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crossearth.errors import ConfigError, SceneError, SceneNotFoundError
from crossearth.transforms import StyleImageFolder
from crossearth.transforms.style_images import read_picture


def test_pictures_are_resized_and_cut_to_the_middle(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 80).astype(np.uint8)[None], 40, 0)
    Image.fromarray(ramp).save(tmp_path / 'ramp.png')
    square = StyleImageFolder(tmp_path, side_px=20)[0]
    assert square.shape == (3, 20, 20)
    expected = np.interp(np.arange(10, 30) * 2 + 0.5, np.arange(80), ramp[0])
    assert np.abs(square[0, 10].numpy() - expected).max() <= 2


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / 'none'):
        with pytest.raises(SceneNotFoundError, match='does not exist or holds no pictures'):
            StyleImageFolder(folder)


def test_damaged_pictures_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(tmp_path / 'a.png')
    whole = (tmp_path / 'a.png').read_bytes()
    (tmp_path / 'b.png').write_bytes(whole[: len(whole) // 2])
    (tmp_path / 'c.jpg').write_text('not a picture')
    images = StyleImageFolder(tmp_path)
    for index, name in ((1, r'b\.png'), (2, r'c\.jpg')):
        with pytest.raises(SceneError, match=f'{name} is damaged or not a picture'):
            images[index]


def test_pictures_of_16_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 30), np.uint16)).save(tmp_path / 'a.tif')
    with pytest.raises(SceneError, match=r'a\.tif has more than 8 bits per band .* scale it to 8'):
        StyleImageFolder(tmp_path)[0]


def test_scenes_that_pillow_takes_for_an_attack_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Million-AID holds scenes of 1003 megapixels; Pillow refuses from 179."""
    pixels = np.repeat(np.arange(0, 240, 2, dtype=np.uint8)[None], 120, 0)
    Image.fromarray(pixels).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    square = StyleImageFolder(tmp_path, side_px=20)[0]
    assert (square[0, 10].float() - torch.arange(20) * 12 - 5).abs().max() <= 1
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_a_jpeg_decoded_at_a_part_of_its_size_is_the_same_picture(tmp_path: Path) -> None:
    x = torch.linspace(0, 12, 1200)
    smooth = ((x.sin()[None] * x.cos()[:, None] + 1) * 120).to(torch.uint8)
    picture = Image.fromarray(smooth.numpy())
    picture.save(tmp_path / 'a.jpg', quality=95)
    picture.save(tmp_path / 'b.png')
    jpeg, png = (StyleImageFolder(tmp_path, side_px=64)[index].int() for index in (0, 1))
    assert (jpeg - png).abs().max() <= 3


def test_what_a_mac_leaves_behind_is_left_out_and_linked_folders_are_searched(
    tmp_path: Path,
) -> None:
    picture = Image.fromarray(np.zeros((30, 30, 3), np.uint8))
    for folder in ('field/b', 'field/__MACOSX', 'elsewhere'):
        (tmp_path / folder).mkdir(parents=True)
    for name in ('field/b/1.png', 'field/0.PNG', 'elsewhere/2.png'):
        picture.save(tmp_path / name)
    for name in ('field/._0.png', 'field/__MACOSX/0.png'):
        (tmp_path / name).write_text('metadata')
    (tmp_path / 'field/c').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'field/c/again').symlink_to(tmp_path / 'field')
    names = [
        path.relative_to(tmp_path).as_posix() for path in StyleImageFolder(tmp_path / 'field').paths
    ]
    assert names == ['field/0.PNG', 'field/b/1.png', 'field/c/2.png']


def test_pictures_have_at_least_one_pixel(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(ConfigError, match='side_px is 0: expected at least 1 pixel'):
        StyleImageFolder(tmp_path, side_px=0)
    with pytest.raises(ConfigError, match='side_px is -3'):
        read_picture(tmp_path / 'a.png', side_px=-3)
