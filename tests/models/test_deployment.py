"""Compiled, exported and distributed forms of the models."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from crossearth.models import CrossEarth, ReinViT, adapted_fpn, fpn_timm
from crossearth.models.adapters import GeospatialSemanticExtractor, Injector, LoRARein
from crossearth.models.decoders import Mask2FormerDecoder

from .test_crossearth import tiny

# batch, height, width: none is the traced one, and the last are no multiples of 32
SIDES = [(1, 64, 96), (3, 160, 128), (1, 50, 130), (2, 33, 65)]


@pytest.fixture(params=['fpn', 'earth', pytest.param('crossearth', marks=pytest.mark.slow)])
def model(request):
    torch.manual_seed(0)
    if request.param == 'fpn':
        return fpn_timm('resnet10t', num_classes=3, width=16).eval()
    if request.param == 'earth':
        earth = adapted_fpn('test_resnet', 'earth', num_classes=3, width=16).eval()
        for name, parameter in earth.named_parameters():
            if name.endswith('alpha'):
                nn.init.ones_(parameter)  # zeros would leave the adapter out
        return earth
    model = tiny().eval()
    # Untrained it changes nothing. With much larger weights the means of features are far above
    # their spread, and torch's group norm loses three digits in float32.
    nn.init.normal_(model.backbone.injector.out.weight, std=0.2)
    return model


def dynamic_shapes():
    """Any batch and any size; an error where the trace binds one."""
    free = torch.export.Dim.DYNAMIC
    return ({0: free, 2: free, 3: free},)


def agree(run, model, sides=SIDES):
    for batch, height, width in sides:
        image = torch.rand(batch, 3, height, width)
        with torch.no_grad():
            torch.testing.assert_close(run(image), model(image), rtol=0, atol=1e-4)


@pytest.mark.usefixtures('unchecked')
def test_exported_model_agrees_at_other_batches_and_sizes(model):
    example = (torch.rand(2, 3, 128, 192),)
    program = torch.export.export(model, example, dynamic_shapes=dynamic_shapes(), strict=False)
    agree(program.module(), model)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # the exporter's own deprecations
@pytest.mark.usefixtures('unchecked')
def test_onnx_agrees_at_other_batches_and_sizes(model, tmp_path):
    pytest.importorskip('onnxscript', reason='the ONNX exporter needs onnxscript')
    runtime = pytest.importorskip('onnxruntime', reason='no ONNX runtime')
    example = (torch.rand(2, 3, 128, 192),)
    torch.onnx.export(
        model,
        example,
        tmp_path / 'model.onnx',
        dynamo=True,
        opset_version=18,
        dynamic_shapes=dynamic_shapes(),
        verbose=False,
    )
    session = runtime.InferenceSession(tmp_path / 'model.onnx')
    name_of_input = session.get_inputs()[0].name
    agree(
        lambda image: torch.from_numpy(session.run(None, {name_of_input: image.numpy()})[0]), model
    )


def shallow():
    """Each kind of layer once: the time to trace grows with their number, nothing else does."""
    vit = timm.create_model(
        'vit_small_patch14_dinov2',
        img_size=64, patch_size=16, embed_dim=32, depth=1, num_heads=2, num_classes=0,
        dynamic_img_size=True,
    )  # fmt: skip
    encoder = ReinViT(
        vit,
        LoRARein(1, 32, tokens=6, rank=2, query_dim=32),
        indices=(0, 0, 0, 0),
        extractor=GeospatialSemanticExtractor(3, widths=(8, 8, 8, 8, 16)),
        injector=Injector(32, query_dim=16, heads=2),
    )
    decoder = Mask2FormerDecoder(
        encoder.channels, 3, dim=32, depth=1, pixel_depth=1, ffn_dim=32, pixel_ffn_dim=32
    )
    return CrossEarth(encoder, decoder, mean=[0.5] * 3, std=[0.5] * 3)


def compile_and_compare(kind, backend, dynamic):
    """In a process of its own, for the tracer cannot see through the checks of shapes."""
    torch.manual_seed(0)
    models = {'fpn': lambda: fpn_timm('resnet10t', num_classes=3, width=16), 'crossearth': shallow}
    model = models[kind]().eval()
    compiled = torch.compile(model, backend=backend, fullgraph=True, dynamic=dynamic)
    agree(compiled, model, SIDES if dynamic else SIDES[:1])


def run_alone(kind, backend, *, dynamic):
    code = f'from {__name__} import compile_and_compare as f; f({kind!r}, {backend!r}, {dynamic})'
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['fpn', 'crossearth'])
def test_compiled_graph_agrees_at_any_size(kind):
    """Traced without a break; machine code is the next test's."""
    run_alone(kind, 'aot_eager', dynamic=True)


@pytest.mark.slow
# Inductor takes minutes to reason about all sizes of the larger model at once: it gets one.
@pytest.mark.parametrize(('kind', 'dynamic'), [('fpn', True), ('crossearth', False)])
def test_compiled_machine_code_agrees(kind, dynamic):
    run_alone(kind, 'inductor', dynamic=dynamic)


class BothFlows(nn.Module):
    """One training step's losses, as one forward for DistributedDataParallel."""

    def __init__(self):
        super().__init__()
        self.model = tiny()

    def forward(self, image, mask):
        losses = self.model.losses(image, mask)
        restored = self.model.restore(image)
        return sum(losses.values()) + (restored - self.model.normalize(image)).abs().mean()


def train(rank, world, store):
    """Two steps of one rank; gradients must be the same everywhere."""
    distributed.init_process_group(
        'gloo', init_method=f'file://{store}', rank=rank, world_size=world
    )
    try:
        model = DistributedDataParallel(BothFlows().train(), find_unused_parameters=False)
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(parameters, lr=1e-3)
        torch.manual_seed(rank)
        for _ in range(2):  # a parameter without a gradient is an error of the second
            image = torch.rand(1, 3, 64, 64)
            mask = torch.full((1, 64, 64), rank)  # one segment on every rank, of another class
            optimiser.zero_grad()
            model(image, mask).backward()
            optimiser.step()
        summed = torch.stack([p.detach().sum() for p in parameters])
        others = [torch.empty_like(summed) for _ in range(world)]
        distributed.all_gather(others, summed)
        assert all(torch.equal(other, summed) for other in others)
    finally:
        distributed.destroy_process_group()


@pytest.mark.filterwarnings('ignore')  # gloo's own remarks about its store
def test_distributed_training_needs_no_search_for_unused_parameters(tmp_path):
    train(0, 1, tmp_path / 'store')


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # gloo's own remarks about its store
def test_two_ranks_end_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, 'OMP_NUM_THREADS', '1')
    torch.multiprocessing.spawn(train, (2, str(tmp_path / 'store')), nprocs=2)


def test_bfloat16_autocast_trains_both_flows_without_nan():
    torch.manual_seed(0)
    step = BothFlows().train()
    parameters = [p for p in step.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=1e-3)
    image, mask = torch.rand(1, 3, 64, 64), torch.randint(0, 3, (1, 64, 64))
    losses = []
    for _ in range(6):
        with torch.autocast('cpu', torch.bfloat16):
            loss = step(image, mask)
        optimiser.zero_grad()
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in parameters)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_state_dict_goes_there_and_back():
    source, target = tiny(), tiny()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(0.01)
    target.load_state_dict(source.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(source.eval()(image), target.eval()(image))
