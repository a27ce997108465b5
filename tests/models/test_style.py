import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from crossearth.errors import CheckpointError, ShapeError
from crossearth.models.style import (
    GhiasiTransformer,
    GhiasiTransformer_Weights,
    MobileStylePredictor,
    StylePredictor,
    StylePredictor_Weights,
    light_style_networks,
    load_style_predictor,
    load_style_transformer,
    released_style_networks,
)
from crossearth.models.weights.reading import read_weights
from crossearth.transforms.earth_style import module_fingerprint

DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))
LIGHT = DATA / 'weights' / 'style'
PARITY = DATA.parent / 'parity'
needs_parity = pytest.mark.skipif(
    not PARITY.exists(), reason='the reference outputs are not at hand'
)
needs_light = pytest.mark.skipif(not LIGHT.exists(), reason='the light weights are not at hand')


@pytest.fixture(scope='module')
def reference() -> Iterator[dict[str, object]]:
    """Weights and outputs of the reference networks."""
    sys.path.insert(0, str(PARITY))
    import reference_weights

    table = json.loads((PARITY / 'style.json').read_text())
    states = {
        part: {key: reference_weights.det(key, shape) for key, shape in table[keys].items()}
        for part, keys in (('ghiasi', 'ghiasi_keys'), ('stylePredictor', 'predictor_keys'))
    }
    image = reference_weights.rnd('sty(128, 128)', 2, 3, 128, 128, lo=0, hi=1)
    yield {'states': states, 'image': image, **load_file(PARITY / 'style.safetensors')}
    sys.path.remove(str(PARITY))


@needs_parity
def test_tensors_of_a_released_file_give_the_recorded_outputs(
    reference: dict[str, Tensor], tmp_path: Path
) -> None:
    states = reference['states']
    released = {
        f'model.augmentor.{part}.{key}': value
        for part, state in states.items()
        for key, value in state.items()
    }
    predictor, transformer = released_style_networks({**released, 'backbone.x': torch.zeros(1)})
    save_file(released, tmp_path / 'released.safetensors')
    converted = load_style_transformer(tmp_path / 'released.safetensors')
    assert module_fingerprint(converted) == module_fingerprint(transformer)
    torch.save({'state_dict': released, 'meta': Harmful()}, tmp_path / 'released.pth')
    unconverted = load_style_transformer(tmp_path / 'released.pth')
    assert module_fingerprint(unconverted) == module_fingerprint(transformer)
    base = predictor(reference['image'])
    assert (base - reference['128x128/base']).abs().max() < 1e-6
    for alpha in (0.0, 0.1, 0.5, 1.0):
        style = torch.lerp(base, reference['sampled'], alpha)
        difference = transformer(reference['image'], style) - reference[f'128x128/alpha{alpha}']
        assert difference.abs().max() < 1e-5


@needs_parity
def test_files_of_style_augmentation_load_with_their_obsolete_statistics(
    reference: dict[str, Tensor], tmp_path: Path
) -> None:
    states = reference['states']
    obsolete = {'layers.0.instancenorm.running_mean': torch.zeros(32)}
    torch.save(
        {'state_dict_ghiasi': {**states['ghiasi'], **obsolete}}, tmp_path / 'transformer.pth'
    )
    torch.save({'state_dict_stylepredictor': states['stylePredictor']}, tmp_path / 'predictor.pth')
    predictor = load_style_predictor(tmp_path / 'predictor.pth')
    transformer = load_style_transformer(tmp_path / 'transformer.pth')
    base = predictor(reference['image'])
    painted = transformer(reference['image'], reference['128x128/base'])
    assert (base - reference['128x128/base']).abs().max() < 1e-6
    assert (painted - reference['128x128/alpha0.0']).abs().max() < 1e-5


def test_published_weights_fit_the_networks_in_size() -> None:
    for network, weights in (
        (StylePredictor(), StylePredictor_Weights.STYLE_AUGMENTATION),
        (GhiasiTransformer(), GhiasiTransformer_Weights.STYLE_AUGMENTATION),
    ):
        assert sum(p.numel() for p in network.parameters()) == weights.meta['num_params']
        assert weights.url.startswith('https://')


def narrow() -> GhiasiTransformer:
    torch.manual_seed(0)
    return GhiasiTransformer((4, 6, 8))


def straightforward(network: GhiasiTransformer, image: Tensor, style: Tensor) -> Tensor:
    """The transformer with PyTorch's own layers, for sides that are multiples of 4."""

    def conv(features: Tensor, layer: nn.Conv2d) -> Tensor:
        padded = nn.ReflectionPad2d(layer.kernel_size[0] // 2)(features)
        return nn.InstanceNorm2d(layer.out_channels)(layer(padded))

    def painted(features: Tensor, layer: nn.Conv2d, gamma: nn.Linear, beta: nn.Linear) -> Tensor:
        return gamma(style)[..., None, None] * conv(features, layer) + beta(style)[..., None, None]

    features = image
    for layer in network.contract:
        features = conv(features, layer.conv).relu()
    for block in network.repaint[:5]:
        inner = painted(features, block.conv1, block.fc_gamma1, block.fc_beta1).relu()
        features = features + painted(inner, block.conv2, block.fc_gamma2, block.fc_beta2)
    for block in network.repaint[5:7]:
        features = nn.Upsample(scale_factor=2)(features)
        features = painted(features, block.conv, block.fc_gamma, block.fc_beta).relu()
    last = network.repaint[7]
    return painted(features, last.conv, last.fc_gamma, last.fc_beta).sigmoid()


def test_the_transformer_is_what_plain_layers_give() -> None:
    network, image, style = narrow(), torch.rand(2, 3, 40, 52), torch.randn(2, 100)
    assert torch.allclose(network(image, style), straightforward(network, image, style), atol=1e-5)


@given(st.integers(32, 67), st.integers(32, 67))
@settings(deadline=None, max_examples=20)
def test_the_transformer_keeps_any_size_and_range(height: int, width: int) -> None:
    painted = narrow()(torch.rand(1, 3, height, width), torch.randn(1, 100))
    assert painted.shape == (1, 3, height, width)
    assert painted.min() >= 0
    assert painted.max() <= 1
    assert painted.is_contiguous()


@pytest.mark.parametrize('size', [(32, 32), (33, 75), (60, 43)])
@pytest.mark.parametrize('kind', [StylePredictor, MobileStylePredictor])
def test_predictors_take_any_size_and_each_image_by_itself(
    kind: type[nn.Module], size: tuple[int, int]
) -> None:
    predictor = kind()
    image = torch.rand(3, 3, *size)
    together = predictor(image)
    alone = torch.cat([predictor(one[None]) for one in image])
    assert together.shape == (3, 100)
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_transformer_styles_each_image_by_itself() -> None:
    network, image, style = narrow(), torch.rand(3, 3, 40, 40), torch.randn(3, 100)
    alone = [network(image[i : i + 1], style[i : i + 1]) for i in range(3)]
    assert torch.allclose(network(image, style), torch.cat(alone), atol=1e-5)


def test_networks_stay_frozen_inside_a_model_that_trains() -> None:
    predictor = StylePredictor()
    model = nn.ModuleList([predictor, narrow()]).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    painted = model[1](image, model[0](image))
    assert not any(module.training for module in predictor.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not painted.requires_grad
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_images_the_networks_cannot_take_are_refused() -> None:
    for image, message in (
        (torch.rand(1, 4, 64, 64), r'\(1, 4, 64, 64\): the style networks take \(b, 3, h, w\)'),
        (torch.rand(1, 3, 64, 31), 'sides of 32 px or more; choose three display bands'),
    ):
        for call in (MobileStylePredictor(), lambda x: narrow()(x, torch.zeros(1, 100))):
            with pytest.raises(ShapeError, match=message):
                call(image)


def test_embeddings_that_do_not_fit_the_batch_are_refused() -> None:
    with pytest.raises(ShapeError, match=r'style is \(1, 100\) for 2 images: expected \(2, 100\)'):
        narrow()(torch.rand(2, 3, 32, 32), torch.zeros(1, 100))


def test_a_file_without_style_networks_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r'x\.pth holds no tensor augmentor\.stylePredictor'):
        released_style_networks({'backbone.weight': torch.zeros(1)}, name='x.pth')


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = {f'layers.0.{key}': torch.zeros(1) for key in ('conv.bias', 'other')}
    torch.save({'state_dict_ghiasi': state}, tmp_path / 't.pth')
    message = (
        r't\.pth does not fit GhiasiTransformer: 83 missing .*; 1 unknown '
        r'\(contract\.0\.other \(1,\)\); 1 of another shape '
        r'\(contract\.0\.conv\.bias \(1,\) for \(32,\)\)'
    )
    with pytest.raises(CheckpointError, match=message):
        load_style_transformer(tmp_path / 't.pth')


def test_weights_that_cannot_be_downloaded_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError('no network')

    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path))
    monkeypatch.setattr('torch.hub.download_url_to_file', offline)
    with pytest.raises(
        CheckpointError, match=r'predictor\.pth cannot be downloaded .*by hand and pass'
    ):
        load_style_predictor()


def test_published_weights_are_downloaded_once_and_read_without_running_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = StylePredictor().state_dict()
    asked: list[str] = []

    def download(url: str, path: str, *, progress: bool) -> None:
        asked.append(url)
        torch.save({'state_dict_stylepredictor': state, 'extra': Harmful()}, path)

    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path))
    monkeypatch.setattr('torch.hub.download_url_to_file', download)
    for _ in range(2):
        predictor = load_style_predictor(progress=False)
        assert torch.equal(predictor.state_dict()['fc.weight'], state['fc.weight'])
    assert asked == [StylePredictor_Weights.STYLE_AUGMENTATION.url]
    assert asked[0].endswith('/checkpoint_stylepredictor.pth')
    assert capsys.readouterr().out == ''


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ('this must not run',))


def test_files_that_run_code_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({'state_dict_stylepredictor': Harmful()}, tmp_path / 'p.pth')
    with pytest.raises(CheckpointError, match=r'p\.pth holds no tensors by name'):
        load_style_predictor(tmp_path / 'p.pth')
    assert capsys.readouterr().out == ''


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    for suffix in ('pth', 'safetensors', 'npz'):
        with pytest.raises(CheckpointError, match=rf'no weights file at .*none\.{suffix}'):
            load_style_predictor(tmp_path / f'none.{suffix}')
    np.savez(tmp_path / 'other.npz', a=np.zeros(2), **{'b|weight': np.zeros(3)})
    with pytest.raises(CheckpointError, match=r'does not fit MobileStylePredictor: 106 missing'):
        load_style_predictor(tmp_path / 'other.npz')


@needs_light
def test_convolutions_survive_a_round_trip_through_npz(tmp_path: Path) -> None:
    pytest.importorskip('onnx', reason='the package onnx is not installed')
    convolutions = read_weights(LIGHT / 'arbitrary_transform.onnx')
    recorded = read_weights(LIGHT / 'arbitrary_transform_fp32.npz')
    assert convolutions.keys() == recorded.keys()
    assert all(torch.equal(convolutions[key], recorded[key]) for key in recorded)
    predictor = read_weights(LIGHT / 'arbitrary_predict.onnx')
    np.savez(tmp_path / 'p.npz', **{key: value.numpy() for key, value in predictor.items()})
    networks = light_style_networks(tmp_path / 'p.npz', LIGHT / 'arbitrary_transform_fp32.npz')
    expected = light_style_networks(
        LIGHT / 'arbitrary_predict.onnx', LIGHT / 'arbitrary_transform.onnx'
    )
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(networks.predictor(image), expected.predictor(image))


def pictures(paths: list[Path], side: int) -> Tensor:
    squares = [Image.open(path).convert('RGB').resize((side, side)) for path in paths]
    stacked = np.stack([np.asarray(square) for square in squares])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2) / 255


def run_onnx(session: object, *inputs: Tensor) -> Tensor:
    names = [item.name for item in session.get_inputs()]
    fed = {name: value.contiguous().numpy() for name, value in zip(names, inputs, strict=True)}
    return torch.from_numpy(session.run(None, fed)[0])


@needs_light
@pytest.mark.parametrize('rounded', [False, True])
def test_the_light_model_agrees_with_its_own_runtime_on_real_images(rounded: bool) -> None:
    """Without the runtime's rounding to int8 to 1e-5, with it as far as the rounding allows."""
    onnx = pytest.importorskip('onnx', reason='the package onnx is not installed')
    runtime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    sessions = []
    for name in ('arbitrary_predict', 'arbitrary_transform'):
        model = onnx.load(LIGHT / f'{name}.onnx')
        stored = {tensor.name for tensor in model.graph.initializer}
        for node in model.graph.node:
            rounding = node.op_type == 'QuantizeLinear' or (
                node.op_type == 'DequantizeLinear' and node.input[0] not in stored
            )
            if rounding and not rounded:
                node.op_type = 'Identity'
                del node.input[1:], node.attribute[:]
        if not rounded:
            del model.graph.value_info[:]
        sessions.append(runtime.InferenceSession(model.SerializeToString()))
    predict, transform = sessions
    networks = light_style_networks(
        LIGHT / 'arbitrary_predict.onnx', LIGHT / 'arbitrary_transform.onnx'
    )
    styles = pictures(sorted((DATA / 'style_aid150').rglob('*.*'))[::90], 256)
    contents = pictures(
        [
            DATA / 'multiclass/potsdam/img_dir/2_10_0_0_512_512.png',
            *sorted((DATA / 'roads/massachusetts/train/images').iterdir())[:1],
        ],
        384,
    )
    ours, theirs = [], []
    for style in styles:
        embedding = run_onnx(predict, style.permute(1, 2, 0)[None])
        predicted = networks.predictor(style[None])
        bound = 0.1 if rounded else 1e-5
        assert (predicted - embedding.flatten()).abs().max() < bound
        for content in contents:
            painted = run_onnx(transform, content.permute(1, 2, 0)[None], embedding)
            theirs.append(painted[0].permute(2, 0, 1))
            ours.append(networks.transformer(content[None], predicted)[0])
    ours, theirs = torch.stack(ours), torch.stack(theirs)
    if rounded:
        assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.98
        assert (ours - theirs).abs().mean((1, 2, 3)).max() < 0.04
    else:
        assert (ours - theirs).abs().max() < 1e-5


@pytest.mark.parametrize('kind', [StylePredictor, MobileStylePredictor])
def test_networks_run_in_float32_under_autocast_and_on_half_precision(
    kind: type[nn.Module],
) -> None:
    predictor, transformer = kind(), narrow()
    image, style = torch.rand(2, 3, 48, 48), torch.randn(2, 100)
    expected = predictor(image), transformer(image, style)
    with torch.autocast('cpu', torch.bfloat16):
        cast = predictor(image), transformer(image, style)
    assert torch.equal(cast[0], expected[0])
    assert torch.equal(cast[1], expected[1])
    half = image.bfloat16()
    assert torch.equal(predictor(half), predictor(half.float()))
    assert transformer(half, style.bfloat16()).dtype == torch.float32
