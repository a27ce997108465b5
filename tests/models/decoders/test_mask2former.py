import math

import pytest
import torch
import torch.nn.functional as F

from crossearth.errors import ConfigError, LabelError
from crossearth.models import Features
from crossearth.models.adapters import LoRARein
from crossearth.models.decoders import (
    DeformablePixelDecoder,
    Mask2FormerDecoder,
    MaskLosses,
    mask_losses,
    sine_positions,
)
from crossearth.models.decoders.mask2former import _visible
from crossearth.models.meta import without_weights
from tests.models.conftest import PARITY


@pytest.fixture
def reference(parity):
    return parity('mask2former')


def build(reference, kind='float32'):
    """The recorded configuration, its weights, its inputs and its outputs."""
    config = reference.config[kind]['cfg']
    encoder = config['pixel_decoder']['encoder']
    layers = config['transformer_decoder']
    decoder = Mask2FormerDecoder(
        tuple(config['in_channels']),
        config['num_classes'],
        dim=config['feat_channels'],
        depth=layers['num_layers'],
        pixel_depth=encoder['num_layers'],
        ffn_dim=layers['layer_cfg']['ffn_cfg']['feedforward_channels'],
        pixel_ffn_dim=encoder['layer_cfg']['ffn_cfg']['feedforward_channels'],
        loss=MaskLosses(points=config['train_cfg']['num_points']),
    )
    reference.weights.fill(decoder)
    kind_of = getattr(torch, kind)
    rnd = reference.weights.rnd
    maps = tuple(rnd(f'feat{s}', 2, 48, 96 // s, 128 // s).to(kind_of) for s in (4, 8, 16, 32))
    features = Features(maps, rnd('q', 12, 64).to(kind_of))
    expected = {
        name.removeprefix(f'{kind}/'): tensor
        for name, tensor in reference.tensors.items()
        if name.startswith(f'{kind}/')
    }
    return decoder.to(kind_of), features, expected


def test_keys_and_shapes_are_those_of_the_reference(reference):
    decoder, _, _ = build(reference)
    ours = {name: list(tensor.shape) for name, tensor in decoder.state_dict().items()}
    assert ours == reference.config['float32']['keys']


def test_positions_equal_the_reference(reference):
    expected = reference.tensors['float32/sine_6x8_c64'][0]
    assert torch.equal(sine_positions(64, 6, 8), expected)


@pytest.mark.parametrize(('kind', 'bar'), [('float32', 1e-5), ('float64', 1e-9)])
def test_pixel_decoder_equals_the_reference(reference, kind, bar):
    decoder, features, expected = build(reference, kind)
    mask_features, levels = decoder.pixel_decoder(features)
    torch.testing.assert_close(mask_features, expected['mask_features'], rtol=bar, atol=bar)
    for index, level in enumerate(levels):
        torch.testing.assert_close(level, expected[f'multi_scale/{index}'], rtol=bar, atol=bar)


@pytest.mark.parametrize(('kind', 'bar'), [('float32', 1e-5), ('float64', 1e-9)])
def test_every_prediction_equals_the_reference(reference, kind, bar):
    decoder, features, expected = build(reference, kind)
    predictions = decoder.predictions(features)
    assert len(predictions) == 5
    for index, (classes, masks) in enumerate(predictions):
        torch.testing.assert_close(classes, expected[f'cls/{index}'], rtol=bar, atol=bar)
        torch.testing.assert_close(masks, expected[f'mask/{index}'], rtol=bar, atol=bar)


@pytest.mark.parametrize(('kind', 'bar'), [('float32', 1e-5), ('float64', 1e-9)])
def test_logits_of_the_image_equal_the_reference(reference, kind, bar):
    decoder, features, expected = build(reference, kind)
    logits = decoder(features)
    torch.testing.assert_close(F.avg_pool2d(logits, 4), expected['seg_logits'], rtol=bar, atol=bar)
    assert torch.equal(logits.argmax(1), expected['argmax'].long())


def test_losses_and_gradients_equal_the_reference(reference, monkeypatch):
    decoder, features, expected = build(reference)
    rnd = reference.weights.rnd
    monkeypatch.setattr(
        torch,
        'rand',
        lambda shape, **_: rnd('rand' + 'x'.join(map(str, shape)), *shape, lo=0, hi=1),
    )
    losses = decoder.losses(features, expected['gt'][:, 0].long())
    recorded = reference.config['float32']
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        recorded['losses'], rel=1e-5
    )
    sum(losses.values()).backward()
    norms = {name: p.grad.norm().item() for name, p in decoder.named_parameters()}
    assert norms == pytest.approx(recorded['grad_norms'], rel=1e-5)


def test_release_has_the_published_keys_and_23_57_million_parameters():
    path = PARITY / 'checkpoint_keys.txt'
    if not path.is_file():
        pytest.skip(f'no {path}: set CROSSEARTH_TEST_PARITY')
    with without_weights():
        parts = {
            'backbone.reins.': LoRARein(24, 1024),
            'decode_head.': Mask2FormerDecoder((1024,) * 4, 5),
        }
    ours = {
        f'{prefix}{name}\t{tuple(p.shape)}'
        for prefix, part in parts.items()
        for name, p in part.named_parameters()
    }
    assert ours == set(path.read_text().splitlines())
    counts = [sum(p.numel() for p in part.parameters()) for part in parts.values()]
    assert counts == [2_990_081, 20_576_198]  # 2.99 M + 20.58 M = 23.57 M


def tiny(**arguments):
    torch.manual_seed(0)
    defaults = {'dim': 32, 'depth': 2, 'pixel_depth': 1, 'ffn_dim': 32, 'pixel_ffn_dim': 32}
    return Mask2FormerDecoder((8,) * 4, 3, **{**defaults, **arguments})


def pyramid(rows=16, cols=24, *, batch=1, queries=5):
    torch.manual_seed(1)
    maps = tuple(torch.rand(batch, 8, rows >> i, cols >> i) for i in range(4))
    return Features(maps, torch.rand(queries, 32) if queries else None)


def test_own_queries_need_no_adapter():
    decoder = tiny(link_queries=False, queries=7)
    assert decoder.predictions(pyramid(queries=0))[-1].masks.shape == (1, 7, 16, 24)
    with pytest.raises(ConfigError, match='the backbone gives no queries'):
        tiny()(pyramid(queries=0))


def test_empty_mask_sees_everything():
    masks = torch.tensor([[[[-1.0, -1.0]], [[1.0, -1.0]]]])
    assert _visible(masks, (1, 2)).tolist() == [[[[True, True], [True, False]]]]


def test_every_parameter_gets_a_gradient():
    decoder = tiny(loss=MaskLosses(points=32))
    mask = torch.zeros(1, 64, 96, dtype=torch.long)
    mask[:, 32:] = 2
    sum(decoder.losses(pyramid(), mask).values()).backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None] == []


def test_image_without_labels_trains_classes_only():
    decoder = tiny(loss=MaskLosses(points=32))
    losses = decoder.losses(pyramid(), torch.full((1, 64, 96), 255))
    assert losses['loss_mask'] == losses['loss_dice'] == 0
    assert losses['loss_cls'] > 0
    sum(losses.values()).backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None] == []


def test_perfect_prediction_costs_next_to_nothing():
    mask = torch.zeros(1, 64, 64, dtype=torch.long)
    mask[:, :, 32:] = 1
    truth = torch.stack([mask[0] == 1, mask[0] == 0, mask[0] == 5]).float()
    masks = (40 * truth - 20)[None]
    classes = torch.full((1, 3, 3), -20.0)
    classes[0, 0, 1] = classes[0, 1, 0] = classes[0, 2, 2] = 20  # the third finds no object
    settings = MaskLosses(points=500, importance=0.0)
    losses = mask_losses([(classes, masks)], mask, settings=settings)
    # not zero: between the centres of two pixels of unlike classes truth is no 0 or 1
    assert losses['loss_cls'] < 1e-6
    assert losses['loss_dice'] < 0.1
    assert losses['loss_mask'] < 0.5
    swapped = mask_losses([(classes[:, [1, 0, 2]], masks)], mask, settings=settings)
    assert swapped['loss_cls'] > 10 * losses['loss_cls'] + 1


def test_one_query_and_one_segment_by_hand():
    """A uniform mask of logit 0 over a segment that fills the image."""
    classes = torch.tensor([[[math.log(3.0), 0.0]]])
    losses = mask_losses(
        [(classes, torch.zeros(1, 1, 4, 4))],
        torch.zeros(1, 4, 4, dtype=torch.long),
        settings=MaskLosses(points=4, oversample=1.0, importance=1.0),
        generator=torch.Generator().manual_seed(0),
    )
    assert losses['loss_cls'].item() == pytest.approx(2 * -math.log(0.75))
    # zero padding outside makes truth less than 1 for points in the border of half a pixel
    generator = torch.Generator().manual_seed(0)
    torch.rand((1, 4, 2), generator=generator)
    places = torch.rand((1, 4, 2), generator=generator)
    truth = F.grid_sample(torch.ones(1, 1, 4, 4), 2 * places[:, :, None] - 1, align_corners=False)
    dice = 1 - (truth.sum() + 1) / (2 + truth.sum() + 1)
    assert losses['loss_dice'].item() == pytest.approx(5 * dice.item())
    assert losses['loss_mask'].item() == pytest.approx(5 * math.log(2))


def test_masks_are_averaged_over_the_segments_of_all_ranks(monkeypatch):
    mask = torch.zeros(1, 8, 8, dtype=torch.long)
    mask[:, :, 4:] = 1

    def losses():
        torch.manual_seed(0)
        predictions = [(torch.rand(1, 3, 4), torch.rand(1, 3, 8, 8))]
        return mask_losses(predictions, mask, settings=MaskLosses(points=16))

    alone = losses()
    distributed = 'crossearth.models.decoders.losses.distributed'
    monkeypatch.setattr(f'{distributed}.is_initialized', lambda: True)
    monkeypatch.setattr(f'{distributed}.get_world_size', lambda: 4)
    monkeypatch.setattr(f'{distributed}.all_reduce', lambda count: count.fill_(40))  # 10 a rank
    shared = losses()
    assert shared['loss_mask'].item() == pytest.approx(alone['loss_mask'].item() * 2 / 10)
    assert shared['loss_dice'].item() == pytest.approx(alone['loss_dice'].item() * 2 / 10)
    assert shared['loss_cls'] == alone['loss_cls']


def test_points_are_drawn_from_the_generator():
    predictions = [(torch.rand(1, 3, 4), torch.rand(1, 3, 8, 8))]
    mask = torch.zeros(1, 8, 8, dtype=torch.long)

    def loss(seed):
        generator = torch.Generator().manual_seed(seed)
        settings = MaskLosses(points=16)
        return mask_losses(predictions, mask, settings=settings, generator=generator)['loss_mask']

    assert loss(0) == loss(0) != loss(1)


def test_label_outside_of_the_classes_is_named():
    with pytest.raises(LabelError, match=r'ids \[0, 7\], expected 0 to 2 and 255'):
        mask_losses([(torch.rand(1, 3, 4), torch.rand(1, 3, 8, 8))], torch.tensor([[[0, 7, 255]]]))


def test_bfloat16_autocast_trains_without_nan():
    decoder = tiny(loss=MaskLosses(points=64))
    mask = torch.zeros(1, 64, 96, dtype=torch.long)
    mask[:, :, 48:] = 1
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=1e-3)
    first = None
    for _ in range(8):
        with torch.autocast('cpu', torch.bfloat16):
            loss = sum(decoder.losses(pyramid(), mask).values())
        assert torch.isfinite(loss)
        first = loss.item() if first is None else first
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < first


@pytest.mark.parametrize(
    ('bad', 'message'),
    [({'dim': 48}, 'dim is 48: expected a multiple of 32'), ({'depth': 0}, 'must be positive')],
)
def test_sizes_that_do_not_fit_are_refused(bad, message):
    with pytest.raises(ConfigError, match=message):
        tiny(**bad)


@pytest.mark.parametrize('bad', [{'points': 0}, {'oversample': 0.5}, {'importance': 1.5}])
def test_numbers_of_points_without_meaning_are_refused(bad):
    with pytest.raises(ConfigError, match='expected at least 1'):
        MaskLosses(**bad)


def test_pixel_decoder_takes_odd_sizes():
    decoder = DeformablePixelDecoder((8,) * 4, dim=32, depth=1, ffn_dim=32)
    maps = tuple(torch.rand(1, 8, *size) for size in [(13, 17), (7, 9), (4, 5), (2, 3)])
    mask_features, levels = decoder(Features(maps))
    assert mask_features.shape[-2:] == (13, 17)
    assert [tuple(level.shape[-2:]) for level in levels] == [(2, 3), (4, 5), (7, 9)]
