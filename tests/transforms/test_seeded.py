import copy
import pickle

import kornia.augmentation as K
import pytest
import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError
from crossearth.transforms import FourierStyle, PatchMask, PhotometricDistortion


def chain(**arguments: object) -> nn.Module:
    return K.AugmentationSequential(
        PhotometricDistortion(),
        FourierStyle(torch.rand(5, 3, 8, 8), p=0.5),
        PatchMask(8, 0.5),
        data_keys=None,
        **arguments,
    )


def batch() -> dict[str, Tensor]:
    mask = torch.randint(0, 6, (4, 32, 40))
    mask[:, :3] = 255
    return {'image': torch.rand(4, 3, 32, 40), 'mask': mask, 'domain': torch.arange(4)}


def test_masks_pass_a_container_unchanged_in_value_type_and_shape() -> None:
    sample = batch()
    augmented = chain(keepdim=True)(sample)
    assert augmented['mask'].dtype == torch.int64
    assert torch.equal(augmented['mask'], sample['mask'])
    assert torch.equal(augmented['domain'], sample['domain'])
    assert (augmented['image'] != sample['image']).any()


def test_geometry_moves_images_and_masks_together_and_labels_keep_their_values() -> None:
    sample = batch()
    sample['image'][:, 0] = sample['mask'] / 255
    augment = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5),
        K.RandomVerticalFlip(p=0.5),
        FourierStyle(torch.rand(5, 3, 8, 8), p=0.0),
        data_keys=None,
        keepdim=True,
    )
    torch.manual_seed(0)
    moved = augment(sample)
    assert moved['mask'].dtype == torch.int64
    assert torch.allclose(moved['image'][:, 0], moved['mask'] / 255)
    assert not torch.equal(moved['mask'], sample['mask'])


def test_a_plain_image_container_works_too() -> None:
    image = torch.rand(4, 3, 32, 40)
    container = K.ImageSequential(PhotometricDistortion(), PatchMask(8, 0.5))
    torch.manual_seed(0)
    first = container(image)
    torch.manual_seed(0)
    assert torch.equal(container(image), first)
    assert first.shape == image.shape


def test_a_container_replays_its_draws() -> None:
    container, sample = chain(keepdim=True), batch()
    first = container(sample)
    again = container(sample, params=container._params)
    assert torch.equal(first['image'], again['image'])


def test_a_single_image_comes_back_as_one() -> None:
    for augment in (
        PhotometricDistortion(),
        FourierStyle(torch.rand(2, 3, 8, 8)),
        PatchMask(4, 0.5),
    ):
        assert augment(torch.rand(3, 16, 16)).shape == (3, 16, 16)


def test_a_single_image_takes_a_single_validity() -> None:
    image = torch.rand(3, 16, 16)
    kept = FourierStyle(torch.rand(2, 3, 8, 8), p=1.0)(
        image, valid=torch.zeros(16, 16, dtype=torch.bool)
    )
    assert torch.equal(kept, image)


def test_nothing_is_computed_where_no_sample_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    style = FourierStyle(torch.rand(2, 3, 8, 8), p=0.0)
    monkeypatch.setattr(style, 'change', None)
    image = torch.rand(4, 3, 16, 16)
    assert torch.equal(style(image), image)


def test_augmentations_can_be_copied_and_sent_to_a_worker() -> None:
    style = FourierStyle(torch.rand(2, 3, 8, 8), p=1.0, generator=torch.Generator().manual_seed(0))
    copied, sent = copy.deepcopy(style), pickle.loads(pickle.dumps(style))
    image = torch.rand(4, 3, 16, 16)
    expected = style(image)
    assert torch.equal(copied(image), expected)
    assert torch.equal(sent(image), expected)


def test_sharing_a_draw_over_the_batch_is_refused() -> None:
    container = chain(keepdim=True, same_on_batch=True)
    with pytest.raises(ConfigError, match='leave same_on_batch and p_batch of the container unset'):
        container(batch())


def test_weights_of_a_model_are_not_touched_by_style_images() -> None:
    assert FourierStyle(torch.rand(2, 3, 8, 8)).state_dict() == {}


def test_a_draw_for_the_batch_styles_all_samples_or_none() -> None:
    images = torch.rand(4, 3, 16, 16)
    options = {'p': 0.3, 'generator': torch.Generator().manual_seed(0)}
    style = FourierStyle(torch.rand(5, 3, 8, 8), draw_per='batch', **options)
    changed = torch.stack([(style(images) != images).flatten(1).any(1) for _ in range(300)])
    assert torch.equal(changed.any(1), changed.all(1))
    assert abs(changed.float().mean() - 0.3) < 0.1
    looks = style(images[:1].expand(4, -1, -1, -1), {**style._params, 'batch_prob': torch.ones(4)})
    assert len({tuple(look.flatten().tolist()) for look in looks}) == 4  # each its own style


def test_other_units_of_drawing_are_refused(unchecked: None) -> None:
    with pytest.raises(ConfigError, match="choose 'sample' or 'batch'"):
        FourierStyle(torch.rand(5, 3, 8, 8), draw_per='epoch')
