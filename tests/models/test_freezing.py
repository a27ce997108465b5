import pytest
import torch
from torch import nn

from crossearth.errors import ConfigError
from crossearth.models import fpn_timm, load_model, read_model_info, save_model
from crossearth.models.freezing import (
    freeze_norms,
    frozen_marks,
    frozen_names,
    other_marks,
    rest_frozen,
)


def test_marks_tell_random_weights_of_one_size_apart_but_not_their_last_bits():
    torch.manual_seed(0)
    first, second = torch.randn(64, 64, 3, 3), torch.randn(64, 64, 3, 3)
    marks = frozen_marks({'a': first}, {'a'})
    assert other_marks(marks, {'a': second}) == ['a']
    assert other_marks(marks, {'b': first}) == ['a']
    assert other_marks(marks, {'a': first * (1 + 1e-6)}) == []


def test_frozen_batch_norms_rest_while_the_others_learn():
    model = nn.Sequential(nn.BatchNorm2d(3).requires_grad_(False), nn.BatchNorm2d(3)).train()
    rest_frozen(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.rand(4, 3, 8, 8))
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed == {'1.running_mean', '1.running_var', '1.num_batches_tracked'}
    assert frozen_names(model) & changed == set()


def test_batch_norms_that_cannot_rest_are_refused():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2, affine=False))
    with pytest.raises(ConfigError, match='1 is a batch norm without scale and shift'):
        freeze_norms(model)


def test_a_model_whose_backbone_was_frozen_by_hand_comes_back(tmp_path):
    torch.manual_seed(0)
    source = fpn_timm('resnet10t', num_classes=6, width=16)
    weights = tmp_path / 'backbone.pt'
    torch.save(source.backbone.model.state_dict(), weights)
    model = fpn_timm('resnet10t', num_classes=6, width=16, pretrained=str(weights)).eval()
    model.backbone.requires_grad_(False)
    save_model(model, tmp_path / 'model.safetensors')
    again = load_model(tmp_path / 'model.safetensors')
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(image), model(image))


def test_resting_norms_keep_what_pretrained_weights_bring_and_the_file_holds_them(tmp_path):
    torch.manual_seed(0)
    weights = tmp_path / 'backbone.pt'
    source = fpn_timm('resnet10t', num_classes=2, width=64).backbone.model
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    torch.save(source.state_dict(), weights)
    model = fpn_timm(
        'resnet10t', num_classes=2, width=64, pretrained=str(weights), norms='resting'
    ).train()
    rest_frozen(model)
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    loss = model(torch.rand(2, 3, 32, 32)).square().mean()
    loss.backward()
    assert not torch.equal(loss.detach(), torch.zeros(()))
    still = model.backbone.state_dict()
    assert all(torch.equal(still[name], value) for name, value in before.items())
    learnt = {name for name, p in model.backbone.named_parameters() if p.grad is not None}
    norms = {name for name, m in model.backbone.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert learnt == {
        name
        for name, _ in model.backbone.named_parameters()
        if name.rpartition('.')[0] not in norms
    }
    save_model(model, tmp_path / 'model.safetensors')
    weights.unlink()  # most of the model was trained, so nothing else is needed
    assert read_model_info(tmp_path / 'model.safetensors').complete
    again = load_model(tmp_path / 'model.safetensors')
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(image), model.eval()(image))


def test_what_norms_do_is_one_of_two_words(unchecked):
    with pytest.raises(ConfigError, match="norms is 'rest': expected one of training, resting"):
        fpn_timm('resnet10t', num_classes=2, width=16, norms='rest')
