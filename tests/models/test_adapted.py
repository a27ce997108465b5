"""Every adapter on every kind of backbone: plain, hierarchical, convolutional."""

import copy
import doctest
from typing import get_args

import pytest
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.tiny_vit import TinyVit
from timm.models.vision_transformer_sam import VisionTransformerSAM
from torch import nn

from crossearth.errors import ConfigError
from crossearth.imagery import Imagery
from crossearth.models import (
    adapted,
    adapted_backbone,
    adapted_fpn,
    load_model,
    merged,
    read_model_info,
    save_model,
)

ADAPTERS = get_args(adapted.AdapterName)
SIDE = 64


def networks():
    torch.manual_seed(0)
    small = {'embed_dims': (8, 12, 12, 16), 'depths': (1,) * 4, 'num_heads': (2,) * 4}
    swin = SwinTransformer(
        img_size=SIDE, window_size=2, embed_dim=8, depths=(1,) * 4, num_heads=(2,) * 4
    )
    swin.pretrained_cfg = {}
    sam = VisionTransformerSAM(
        img_size=SIDE, embed_dim=16, depth=2, num_heads=2, window_size=2, num_classes=0
    )
    return {
        'sam': sam,
        'vit': timm.create_model('test_vit', num_classes=0, img_size=SIDE, dynamic_img_size=True),
        'tiny_vit': TinyVit(**small, window_sizes=(2,) * 4),
        'swin': swin,
        'cnn': timm.create_model('test_efficientnet'),
    }


@pytest.mark.parametrize('adapter', ['lora', 'soma'])
def test_low_ranks_leave_the_convolution_that_sees_the_image_alone(adapter):
    for kind in ('vit', 'sam', 'cnn'):
        network = networks()[kind]
        if kind == 'sam':  # what timm gives with its builder
            network.pretrained_cfg = {'first_conv': 'patch_embed.proj'}
        backbone = adapted_backbone(network, adapter, rank=2)
        trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
        assert trained
        assert not [name for name in trained if 'patch_embed' in name or 'conv_stem' in name], kind


REFUSED = {('cnn', 'gate')}
PAIRS = [
    (kind, adapter)
    for kind in ('vit', 'sam', 'tiny_vit', 'swin', 'cnn')
    for adapter in ADAPTERS
    if (kind, adapter) not in REFUSED
]


@pytest.mark.parametrize('kind', ['vit', 'sam', 'tiny_vit', 'swin', 'cnn'])
def test_adapters_start_as_the_frozen_backbone_and_all_that_trains_learns(kind):
    x = torch.rand(2, 3, SIDE, SIDE)
    frozen = adapted_backbone(networks()[kind], 'frozen')
    expected = frozen(x).maps
    pretrained = dict(frozen.state_dict())
    assert not any(p.requires_grad for p in frozen.parameters())
    for adapter in (a for k, a in PAIRS if k == kind and a != 'frozen'):
        rank = None if adapter in ('full', 'rein') else 2
        backbone = adapted_backbone(networks()[kind], adapter, rank=rank)
        backbone.train(adapter != 'full')
        maps = backbone(x).maps
        assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True)), adapter
        sum(level.square().mean() for level in maps).backward()
        trained = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
        assert trained
        assert all(p.grad is not None for p in trained.values()), adapter  # as DDP asks of all
        if adapter == 'full':
            continue
        # what was pretrained stays frozen, under whatever name it has now
        state = backbone.state_dict()
        names = {name: renamed(name) for name in state if name not in trained}
        kept = {plain: state[name] for name, plain in names.items() if plain in pretrained}
        assert set(kept) == set(pretrained), adapter
        assert all(torch.equal(kept[name], pretrained[name]) for name in kept)


def renamed(name: str) -> str:
    """The name that a tensor of the network had before an adapter came."""
    for part in ('.parametrizations.weight.original', '.stage.', '.mlp.mlp.'):
        name = name.replace(part, {'.stage.': '.', '.mlp.mlp.': '.mlp.'}.get(part, '.weight'))
    return name


@pytest.mark.parametrize('adapter', ['lora', 'soma'])
def test_low_rank_changes_work_where_timm_names_no_stages(adapter):
    """SHViT has no map at stride 4; MViT, VOLO, LeViT and others name their stages otherwise."""
    backbone = adapted_backbone(timm.create_model('shvit_s1'), adapter, rank=2)
    sum(level.square().mean() for level in backbone(torch.rand(2, 3, SIDE, SIDE)).maps).backward()
    trained = [p for p in backbone.parameters() if p.requires_grad]
    assert len(trained) > 10
    assert all(p.grad is not None for p in trained)
    with pytest.raises(ConfigError, match='SHViT does not say which of its modules end'):
        adapted_backbone(timm.create_model('shvit_s1'), 'rein')


def test_gate_is_refused_on_a_cnn():
    with pytest.raises(ConfigError, match='EfficientNet has no blocks of attention and MLP'):
        adapted_fpn('test_efficientnet', 'gate', num_classes=2)


@pytest.mark.usefixtures('unchecked')
@pytest.mark.parametrize(
    ('adapter', 'options', 'message'),
    [
        ('dora', {}, "adapter is 'dora': expected one of frozen, full, lora"),
        ('frozen', {'rank': 4}, "rank=4 with adapter='frozen'"),
        ('lora', {'rank': 0}, 'rank=0 with'),
        ('earth', {'first': 1}, 'first=1 with .*expected lora or soma'),
        ('lora', {'first': 9}, 'first is 9: expected 0 to 3'),
    ],
)
def test_arguments_that_say_nothing_of_the_adapter_are_refused(adapter, options, message):
    with pytest.raises(ConfigError, match=message):
        adapted_fpn('test_resnet', adapter, num_classes=2, width=8, **options)


class ScaleShift(nn.Module):
    def __init__(self, depth, dim):
        super().__init__()
        self.depth = depth
        self.scale = nn.Parameter(torch.ones(depth, dim))
        self.shift = nn.Parameter(torch.zeros(depth, dim))

    def forward(self, features, layer, grid):  # noqa: ARG002  # the contract of adapters
        return features * self.scale[layer] + self.shift[layer]

    def queries(self):
        return None


@pytest.mark.parametrize(
    ('name', 'shapes'),
    [
        ('test_vit', [(6, 64)]),  # one for all blocks
        ('test_resnet', [(1, 32), (1, 48), (1, 192), (1, 96)]),  # one per stage
    ],
)
def test_an_adapter_of_yours_is_built_for_the_blocks_or_the_stages(name, shapes):
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    backbones = []
    for adapter in ('frozen', ScaleShift):
        torch.manual_seed(0)
        options = {'dynamic_img_size': True, 'img_size': 64} if name == 'test_vit' else {}
        backbones.append(adapted_backbone(timm.create_model(name, **options), adapter).eval())
    frozen, mine = backbones
    trained = {n: p for n, p in mine.named_parameters() if p.requires_grad}
    assert [tuple(p.shape) for n, p in trained.items() if n.endswith('scale')] == shapes
    assert all(n.endswith(('.scale', '.shift')) for n in trained)
    with torch.no_grad():
        assert all(map(torch.equal, mine(image).maps, frozen(image).maps))
        for parameter in trained.values():
            parameter.fill_(0)
        assert all(
            not torch.equal(a, b) for a, b in zip(mine(image).maps, frozen(image).maps, strict=True)
        )


@pytest.mark.parametrize('name', ['test_vit', 'test_resnet'])
def test_an_adapter_of_yours_follows_the_mode_and_the_network_does_not(name):
    class Dropping(ScaleShift):
        def __init__(self, depth, dim):
            super().__init__(depth, dim)
            self.drop = nn.Dropout(0.5)

    backbone = adapted_backbone(timm.create_model(name), Dropping)
    for mode in (True, False):
        backbone.train(mode)
        drops = [module for module in backbone.modules() if isinstance(module, nn.Dropout)]
        mine = [module for module in drops if module.p == 0.5]
        assert mine
        assert all(module.training == mode for module in mine)
        assert not any(module.training for module in drops if module.p != 0.5)
        norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
        assert norms
        assert not any(norm.training for norm in norms)


@pytest.mark.parametrize(
    ('first', 'second'), [('earth', 'lora'), ('lora', 'rein'), ('gate', 'rein')]
)
def test_a_network_takes_one_adapter(first, second):
    name = 'test_resnet' if first == 'earth' else 'test_vit'
    network = timm.create_model(name)
    adapted_backbone(network, first)
    with pytest.raises(ConfigError, match='has an adapter already'):
        adapted_backbone(network, second)


@pytest.mark.usefixtures('unchecked')
@pytest.mark.parametrize('rank', ['4', 1.5, True])
def test_a_rank_is_a_whole_number(rank):
    with pytest.raises(ConfigError, match=r'rank is .*: expected a whole number, or None'):
        adapted_fpn('test_resnet', 'lora', num_classes=2, rank=rank)


@pytest.mark.usefixtures('unchecked')
@pytest.mark.parametrize(
    ('adapter', 'options', 'message'),
    [
        (ScaleShift(2, 8), {}, 'adapter is a ScaleShift: expected a name, or a class'),
        (3, {}, 'adapter is a int: expected a name, or a class'),
        (ScaleShift, {'rank': 4}, 'rank=4 and first=0 with an adapter of yours'),
        (ScaleShift, {'first': 1}, 'rank=None and first=1 with an adapter of yours'),
        (lambda depth, dim: nn.Linear(depth, dim), {}, 'Linear lacks `depth` and `queries`'),
    ],
)
def test_what_does_not_build_an_adapter_is_refused(adapter, options, message):
    with pytest.raises(ConfigError, match=message):
        adapted_backbone(timm.create_model('test_resnet'), adapter, **options)


def test_the_example_of_the_builder_runs():
    for name in ('adapted_fpn', 'merged', 'adapted_backbone'):
        (example,) = doctest.DocTestFinder(recurse=False).find(
            getattr(adapted, name), name, module=adapted
        )
        assert doctest.DocTestRunner().run(example).failed == 0


def shaken(model):
    """The model, as if trained: what requires gradients is no longer at its initial value."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn_like(parameter)
    return model.eval()


@pytest.mark.parametrize('adapter', ['lora', 'soma', 'rein', 'earth'])
def test_a_copy_such_as_a_teacher_is_whole_and_goes_its_own_way(adapter):
    x = torch.rand(1, 3, SIDE, SIDE)
    model = shaken(adapted_fpn('test_convnext', adapter, num_classes=2, width=8))
    teacher = copy.deepcopy(model)
    expected = model(x)
    assert torch.equal(teacher(x), expected)
    shaken(model)
    assert (model(x) - expected).abs().max() > 1e-3
    assert torch.equal(teacher(x), expected)


def test_all_that_trains_of_a_whole_cait_is_read():
    torch.manual_seed(0)
    network = timm.models.cait.Cait(
        img_size=32, patch_size=16, embed_dim=16, depth=2, num_heads=2, num_classes=0
    )
    backbone = adapted_backbone(network, 'full').train()
    sum(level.square().mean() for level in backbone(torch.rand(1, 3, 32, 32)).maps).backward()
    trained = [p for p in backbone.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None for p in trained)


@pytest.fixture
def weights(tmp_path):
    """A file of pretrained weights for each of two networks."""
    files = {}
    for name in ('test_vit', 'test_resnet'):
        torch.manual_seed(3)
        options = {'img_size': SIDE, 'num_classes': 0} if name == 'test_vit' else {}
        files[name] = tmp_path / f'{name}.pth'
        torch.save(timm.create_model(name, **options).state_dict(), files[name])
    return files


@pytest.mark.parametrize('name', ['test_vit', 'test_resnet'])
def test_models_go_through_their_file(name, weights, tmp_path):
    """Frozen weights are not in it where the adapter left them whole."""
    x = torch.rand(1, 3, SIDE, SIDE)
    options = {'img_size': SIDE} if name == 'test_vit' else {}
    kind = 'vit' if name == 'test_vit' else 'cnn'
    for adapter in (a for k, a in PAIRS if k == kind):
        model = adapted_fpn(
            name, adapter, num_classes=2, width=8, pretrained=str(weights[name]), **options
        )
        path = save_model(shaken(model), tmp_path / f'{adapter}.safetensors')
        assert read_model_info(path).complete == (adapter == 'full')
        again = load_model(path)
        assert torch.equal(again(x), model(x)), adapter
        assert again.blueprint.arguments['adapter'] == adapter


@pytest.mark.parametrize('adapter', ['lora', 'soma'])
def test_merged_models_give_the_same_and_are_files_of_the_frozen_one(adapter, weights, tmp_path):
    x = torch.rand(1, 3, SIDE, SIDE)
    model = shaken(
        adapted_fpn(
            'test_resnet', adapter, num_classes=2, width=8, pretrained=str(weights['test_resnet'])
        )
    )
    frozen = adapted_fpn('test_resnet', 'frozen', num_classes=2, width=8)
    expected = model(x)
    assert (merged(model)(x) - expected).abs().max() <= 1e-5
    assert set(model.state_dict()) == set(frozen.state_dict())  # no cost is left
    setattr(model, 'imagery', Imagery(gsd_m=0.5))  # noqa: B010  # as load_model does
    path = save_model(model, tmp_path / 'merged.safetensors')
    assert read_model_info(path).gsd_m == 0.5
    assert (load_model(path)(x) - expected).abs().max() <= 1e-5
    with pytest.raises(ConfigError, match='has no layer with LoRA or SoMA'):
        merged(model)


def test_a_plain_transformer_of_no_size_is_refused():
    with pytest.raises(ConfigError, match='img_size is 0: expected one side'):
        adapted_fpn('test_vit', 'lora', num_classes=3, img_size=0)
