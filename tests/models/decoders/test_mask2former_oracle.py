"""The decoder against transformers' Mask2Former, parts and losses; written against version 5.23.

Its parts are private and may move: what then fails here is the test, not the library.
"""

import pytest
import torch
from torch import nn

from crossearth.models import Features
from crossearth.models.decoders import Mask2FormerDecoder, MaskLosses, mask_losses

MODULE = 'transformers.models.mask2former.modeling_mask2former'
DIM, CLASSES, QUERIES, LAYERS, PIXEL_LAYERS, POINTS = 32, 4, 9, 9, 6, 200


class Oracle(nn.Module):
    """transformers' pixel decoder, transformer module and classifier, without a backbone."""

    def __init__(self, theirs, channels):
        super().__init__()
        self.config = theirs.Mask2FormerConfig(
            feature_size=DIM,
            mask_feature_size=DIM,
            hidden_dim=DIM,
            encoder_feedforward_dim=48,
            dim_feedforward=64,
            encoder_layers=PIXEL_LAYERS,
            decoder_layers=LAYERS + 1,  # it counts the prediction in front of the layers
            num_queries=QUERIES,
            num_labels=CLASSES,
            train_num_points=POINTS,
        )
        self.pixels = theirs.Mask2FormerPixelDecoder(self.config, list(channels))
        self.transformer = theirs.Mask2FormerTransformerModule(DIM, self.config)
        self.classify = nn.Linear(DIM, CLASSES + 1)
        weights = {'loss_cross_entropy': 2.0, 'loss_mask': 5.0, 'loss_dice': 5.0}
        self.criterion = theirs.Mask2FormerLoss(self.config, weights)

    def forward(self, maps):
        """Pixel features, and classes and masks of every prediction."""
        pixels = self.pixels(list(maps), return_dict=True)
        found = self.transformer(pixels.multi_scale_features, pixels.mask_features)
        states = [state.transpose(0, 1) for state in found.intermediate_hidden_states]
        classes = [self.classify(state) for state in states]
        return pixels, list(zip(classes, found.masks_queries_logits, strict=True))


def their_weights(ours):
    """A state dict of `Oracle` with the weights of our decoder."""
    renamed = [
        ('pixel_decoder.', 'pixels.'),
        ('pixels.level_encoding.weight', 'pixels.level_embed'),
        ('input_convs.', 'input_projections.'),
        ('lateral_convs.0.', 'adapter_1.'),
        ('output_convs.0.', 'layer_1.'),
        ('mask_feature.', 'mask_projection.'),
        ('.conv.', '.0.'),
        ('.gn.', '.1.'),
        ('transformer_decoder.post_norm', 'transformer.decoder.layernorm'),
        ('transformer_decoder.', 'transformer.decoder.'),
        ('.ffn.layers.0.0.', '.fc1.'),
        ('.ffn.layers.1.', '.fc2.'),
        ('.attn.', '.'),
        ('cls_embed.', 'classify.'),
        ('query_embed.', 'transformer.queries_embedder.'),
        ('query_feat.', 'transformer.queries_features.'),
    ]
    norms = {
        'pixels': ['self_attn_layer_norm', 'final_layer_norm'],
        'transformer': ['cross_attn_layer_norm', 'self_attn_layer_norm', 'final_layer_norm'],
    }
    state = {}
    for name, tensor in ours.state_dict().items():
        for old, new in renamed:
            name = name.replace(old, new)
        for index, norm in enumerate(norms.get(name.split('.')[0], [])):
            name = name.replace(f'.norms.{index}.', f'.{norm}.')
        if name.startswith('level_embed'):
            name = f'transformer.{name}'
        if name.startswith('mask_embed.'):  # linear layers at 0, 2, 4 between activations
            _, index, leaf = name.split('.')
            embedder = 'transformer.decoder.mask_predictor.mask_embedder'
            name = f'{embedder}.{int(index) // 2}.0.{leaf}'
        if '.self_attn.in_proj_' in name:
            for part, third in zip('qkv', tensor.chunk(3), strict=True):
                state[name.replace('in_proj_', f'{part}_proj.')] = third
        else:
            state[name] = tensor
    return state


@pytest.fixture
def theirs():
    return pytest.importorskip(MODULE, reason='transformers is not installed')


@pytest.fixture(params=[torch.float32, torch.float64], ids=['float32', 'float64'])
def pair(request, theirs):
    """Our decoder, theirs with the same weights, and features."""
    torch.manual_seed(0)
    channels = (8, 12, 16, 20)
    ours = Mask2FormerDecoder(
        channels,
        CLASSES,
        dim=DIM,
        queries=QUERIES,
        depth=LAYERS,
        pixel_depth=PIXEL_LAYERS,
        ffn_dim=64,
        pixel_ffn_dim=48,
        link_queries=False,
        loss=MaskLosses(points=POINTS),
    )
    with torch.no_grad():
        for parameter in ours.parameters():  # what starts at zero or one would hide mistakes
            parameter.add_(0.1 * torch.randn_like(parameter))
    oracle = Oracle(theirs, channels)
    missing, unused = oracle.load_state_dict(their_weights(ours), strict=False)
    assert (missing, unused) == (['criterion.empty_weight'], [])
    sizes = [(24, 40), (12, 20), (6, 10), (3, 5)]
    maps = tuple(
        torch.randn(2, width, *size, dtype=request.param)
        for width, size in zip(channels, sizes, strict=True)
    )
    return ours.to(request.param), oracle.to(request.param), maps


@torch.no_grad()
def test_pixel_decoder_equals_transformers(pair):
    ours, oracle, maps = pair
    found, (expected, _) = ours.pixel_decoder(Features(maps)), oracle(maps)
    bar = 1e-5 if maps[0].dtype == torch.float32 else 1e-6  # our pixel centres are float32
    torch.testing.assert_close(found.mask_features, expected.mask_features, rtol=bar, atol=bar)
    for level, theirs in zip(found.levels, expected.multi_scale_features, strict=True):
        torch.testing.assert_close(level, theirs, rtol=bar, atol=bar)


@torch.no_grad()
@pytest.mark.parametrize('pair', [torch.float64], ids=['float64'], indirect=True)
def test_every_prediction_equals_transformers(pair):
    ours, oracle, maps = pair
    found, (_, expected) = ours.predictions(Features(maps)), oracle(maps)
    assert len(found) == len(expected) == LAYERS + 1
    for (classes, masks), (their_classes, their_masks) in zip(found, expected, strict=True):
        torch.testing.assert_close(classes, their_classes, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(masks, their_masks, rtol=1e-6, atol=1e-6)
    # the masks of attention are neither empty nor full, and the queries differ
    assert all(0.1 < (masks > 0).double().mean() < 0.9 for _, masks in found)
    assert all(masks.std(1).mean() > 0.01 for _, masks in found)


@pytest.mark.parametrize('pair', [torch.float32], ids=['float32'], indirect=True)
def test_losses_and_their_gradients_equal_transformers(pair):
    """On the same predictions and random points, which both draw in the same order."""
    ours, oracle, maps = pair
    mask = torch.randint(0, CLASSES, (2, 12, 20)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    mask[0][mask[0] == 1] = 255
    ids = [torch.tensor([0, 2, 3]), torch.arange(CLASSES)]
    segments = [(labels == i[:, None, None]).float() for labels, i in zip(mask, ids, strict=True)]
    with torch.no_grad():
        predictions = ours.predictions(Features(maps))[-3:]
    both = []
    for terms_of in (
        lambda made: mask_losses(made, mask, settings=ours.loss).values(),
        lambda made: [
            oracle.criterion.weight_dict[name] * terms[name]
            for classes, masks in made
            for terms in [oracle.criterion(masks, classes, segments, ids)]
            for name in ('loss_cross_entropy', 'loss_mask', 'loss_dice')
        ],
    ):
        leaves = [tuple(part.clone().requires_grad_() for part in made) for made in predictions]
        torch.manual_seed(1)
        terms = torch.stack(list(terms_of(leaves)))
        terms.sum().backward()
        both.append([terms.detach(), *(part.grad for made in leaves for part in made)])
    assert len(both[0][0]) == 9
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
