import copy
import io

import kornia.augmentation as K
import pytest
import torch
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.transforms import EarthStyle, EarthStyleInjection
from crossearth.transforms.earth_style import module_fingerprint


class Predictor(nn.Module):
    """The mean colour is the style; it counts the images it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)
        self.calls: list[tuple[int, torch.dtype]] = []

    def forward(self, image: Tensor) -> Tensor:
        self.calls.append((len(image), image.dtype))
        return self.norm(image).mean((2, 3))


class Transformer(nn.Module):
    """Moves the mean of the image to the style; its convolution is the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        nn.init.dirac_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.calls: list[tuple[int, torch.dtype]] = []

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        image = self.conv(image)
        self.calls.append((len(image), image.dtype))
        return image - image.mean((2, 3), keepdim=True) + style[:, :, None, None]


PARTS = {'patch_size': 8, 'ratio': 0.5, 'p': 1.0}


def style(**provenance: str) -> EarthStyle:
    return EarthStyle(torch.tensor([0.3, 0.5, 0.7]), torch.eye(3) * 1e-4, provenance)


def injection(**arguments: object) -> EarthStyleInjection:
    generator = torch.Generator().manual_seed(0)
    return EarthStyleInjection(
        style(), Predictor(), Transformer(), **{**PARTS, 'generator': generator, **arguments}
    )


def image(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 0.2 + 0.4


def networks(inject: EarthStyleInjection) -> tuple[Predictor, Transformer]:
    return inject._networks  # type: ignore[return-value]  # the two above


def test_the_style_is_blended_with_the_images_own() -> None:
    inject, plain = injection(alpha=0.25, patch_size=None), image(6, 3, 24, 32)
    styled = inject(plain)
    blend = torch.lerp(plain.mean((2, 3)), inject._params['style'], 0.25)
    assert torch.allclose(styled.mean((2, 3)), blend, atol=1e-5)
    assert len({round(float(mean), 6) for mean in inject._params['style'][:, 0]}) == 6


def test_patches_are_styled_or_the_image_itself() -> None:
    inject, plain = injection(alpha=1.0), image(16, 3, 64, 64)
    styled = inject(plain)
    kept = inject._params['patches'] >= 0.5
    kept = kept.repeat_interleave(8, 2).repeat_interleave(8, 3).expand_as(plain)
    assert torch.equal(styled[kept], plain[kept])
    moved = plain - plain.mean((2, 3), keepdim=True) + inject._params['style'][..., None, None]
    assert torch.allclose(styled[~kept], moved[~kept], atol=1e-5)
    assert abs(kept.float().mean() - 0.5) < 0.1


def test_networks_see_only_the_samples_that_are_drawn_and_nothing_when_none_is() -> None:
    inject = injection(p=0.3)
    plain = image(40, 3, 16, 16)
    inject(plain)
    drawn = int((inject._params['batch_prob'] > 0.5).sum())
    assert 0 < drawn < 40
    assert networks(inject)[0].calls == [(drawn, torch.float32)]
    assert networks(inject)[1].calls == [(drawn, torch.float32)]
    never = injection(p=0.0)
    assert torch.equal(never(plain), plain)
    assert networks(never)[0].calls == networks(never)[1].calls == []


def test_a_seed_repeats_bit_for_bit_and_draws_replay() -> None:
    plain = image(8, 3, 32, 32)
    one, two = injection(p=0.5), injection(p=0.5)
    first = one(plain)
    recorded = one._params
    assert torch.equal(two(plain), first)
    assert not torch.equal(one(plain), first)
    assert torch.equal(one(plain, recorded), first)


def test_it_composes_in_a_container_and_leaves_masks_alone() -> None:
    chain = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5), injection(), data_keys=None, keepdim=True
    )
    mask = torch.randint(0, 6, (4, 32, 32))
    mask[:, :2] = 255
    augmented = chain({'image': image(4, 3, 32, 32), 'mask': mask})
    assert augmented['mask'].dtype == torch.int64
    assert torch.equal(augmented['mask'].flatten().bincount(), mask.flatten().bincount())


def test_nothing_learns_and_no_statistic_moves() -> None:
    inject = injection(patch_size=None)
    before = {k: v.clone() for net in networks(inject) for k, v in net.state_dict().items()}
    inject.train()
    plain = image(4, 3, 16, 16).requires_grad_()
    inject(plain)
    assert not any(module.training for net in networks(inject) for module in net.modules())
    after = {k: v for net in networks(inject) for k, v in net.state_dict().items()}
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(p.requires_grad for net in networks(inject) for p in net.parameters())


def test_optimisers_and_checkpoints_do_not_see_the_networks() -> None:
    model = nn.Sequential(nn.Linear(2, 2), injection())
    assert {name for name, _ in model.named_parameters()} == {'0.weight', '0.bias'}
    assert set(model.state_dict()) == {'0.weight', '0.bias'}


def test_the_networks_move_along() -> None:
    inject = injection().to('meta')
    assert {p.device.type for net in networks(inject) for p in net.parameters()} == {'meta'}


def test_a_move_in_precision_leaves_the_networks_in_float32() -> None:
    inject = injection().to(torch.bfloat16)
    inject(image(2, 3, 16, 16).bfloat16())
    assert networks(inject)[1].calls == [(2, torch.float32)]


def test_under_autocast_the_networks_run_in_float32_and_agree() -> None:
    plain = image(2, 3, 32, 32)
    expected = injection()(plain)
    inject = injection()
    with torch.autocast('cpu', torch.bfloat16):
        styled = inject(plain)
    assert networks(inject)[1].calls == [(2, torch.float32)]
    assert torch.equal(styled, expected)


def test_the_input_is_as_it_was_and_the_output_in_the_unit_range() -> None:
    plain = (torch.rand(4, 3, 32, 32) > 0.5).float()
    before = plain.clone()
    styled = injection(alpha=1.0, patch_size=None)(plain)
    assert torch.equal(plain, before)
    assert styled.min() >= 0
    assert styled.max() <= 1


def test_nodata_and_ignored_pixels_keep_their_values_and_do_not_colour_the_style() -> None:
    plain = image(2, 3, 32, 32)
    padded = plain.clone()
    padded[..., 20:] = 0
    ignored = torch.zeros(2, 32, 32, dtype=torch.bool)
    ignored[:, :4] = True
    inject = injection(patch_size=None)
    styled = inject(padded, valid=~ignored)
    assert torch.equal(styled[..., 20:], padded[..., 20:])
    assert torch.equal(styled[..., :4, :], padded[..., :4, :])
    used = padded[..., 4:, :20].mean((2, 3))
    blend = torch.lerp(used, inject._params['style'], 0.1)
    assert torch.allclose(styled[..., 4:, :20].mean((2, 3)), blend, atol=1e-4)


def test_further_bands_undergo_the_same_change_of_statistics() -> None:
    plain = image(3, 5, 32, 32)
    inject = injection(alpha=1.0, patch_size=None, bands=(3, 1, 0))
    styled = inject(plain)
    shift = (inject._params['style'] - plain[:, [3, 1, 0]].mean((2, 3))).mean(1, keepdim=True)
    moved = (styled - plain).mean((2, 3))
    assert torch.allclose(moved[:, [2, 4]], shift.expand(3, 2), atol=1e-4)
    assert torch.allclose(styled[:, [3, 1, 0]].mean((2, 3)), inject._params['style'], atol=1e-4)


def test_it_can_be_copied_and_saved_whole() -> None:
    inject, plain = injection(), image(2, 3, 16, 16)
    copied = copy.deepcopy(inject)
    assert torch.equal(copied(plain), inject(plain))
    assert networks(copied)[0] is not networks(inject)[0]
    torch.save(inject, io.BytesIO())


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'alpha': 1.5}, 'alpha=1.5: expected a weight from 0 to 1'),
        ({'bands': (0, 1)}, r'bands=\(0, 1\): expected three, for the style networks'),
        ({'p': -0.1}, 'p=-0.1: expected a probability'),
        ({'ratio': 1.5}, 'ratio=1.5'),
    ],
)
def test_arguments_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        injection(**arguments)


@pytest.mark.usefixtures('unchecked')
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'patch_size': 8.5}, r'patch_size=8\.5 .* expected a whole number of pixels'),
        ({'polarity': 'reversed'}, "polarity='reversed': expected 'release' or 'paper'"),
        ({'grid': 'round'}, "grid='round': expected 'paper' or 'release'"),
        ({'covariance': 'none'}, "covariance='none': expected 'full' or 'diagonal'"),
    ],
)
def test_words_without_meaning_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        injection(**arguments)


def test_a_style_of_another_predictor_is_refused() -> None:
    predictor = Predictor()
    own = f'Predictor:{module_fingerprint(predictor)}'
    EarthStyleInjection(style(predictor=own), predictor, Transformer(), **PARTS)
    with pytest.raises(
        ConfigError, match='was fitted with Other:0, but the predictor is Predictor'
    ):
        EarthStyleInjection(style(predictor='Other:0'), predictor, Transformer(), **PARTS)


def test_a_style_of_another_length_is_refused() -> None:
    longer = EarthStyle(torch.zeros(5), torch.eye(5))
    inject = EarthStyleInjection(longer, Predictor(), Transformer(), **PARTS)
    with pytest.raises(ShapeError, match=r'embeddings \(2, 3\), the style \(2, 5\): fit'):
        inject(image(2, 3, 16, 16))


def test_a_container_replays_injection_with_its_geometry() -> None:
    chain = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=0.5), injection(p=0.5), data_keys=['input', 'mask']
    )
    plain, mask = image(6, 3, 32, 32), torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 32, 32)
    first = chain(plain, mask)
    again = chain(plain, mask, params=chain._params)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], chain(plain, mask)[0])
