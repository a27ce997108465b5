import pytest
import torch
from torch import distributed

from crossearth.errors import ConfigError
from crossearth.models import adapted_fpn
from crossearth.models.adapters import gated_modules
from crossearth.trainers import FisherGating, SourceOnly
from crossearth.trainers.methods import DomainAdversarial, FeatureDistance
from tests.trainers.methods.small import THREE, make_batch, plain


def gating(**options) -> FisherGating:
    torch.manual_seed(0)
    model = adapted_fpn('test_vit', 'gate', num_classes=3, img_size=32, rank=2, width=4)
    return FisherGating(SourceOnly(model, THREE), **({'interval': 2, 'top': 5} | options)).train()


def step(method, optimizer, batch):
    optimizer.zero_grad()
    sum(method.losses(batch).values()).backward()
    optimizer.step()
    method.after_step()


def values(part):
    return [p.detach().clone() for p in part.own_parameters()]


def test_open_modules_train_and_closed_ones_rest_whatever_the_optimiser_does():
    method = gating(interval=100)
    trained = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.5)
    before = {name: values(part) for name, part in gated_modules(method.model).items()}
    for _ in range(3):
        step(method, optimizer, make_batch(2, 32))
    opened = method.opened()
    assert len(opened) == 5
    for name, part in gated_modules(method.model).items():
        same = [torch.equal(a, b) for a, b in zip(values(part), before[name], strict=True)]
        assert all(same) == (name not in opened), name


def test_the_choice_is_made_again_after_the_interval_and_once_a_step(monkeypatch):
    method = gating()
    chosen = []
    choose = method._choose

    def noted(batch):
        chosen.append(int(method.step))
        return choose(batch)

    monkeypatch.setattr(method, '_choose', noted)
    batch = make_batch(1, 32)
    for _ in range(5):
        for _ in range(2):  # gradients of two batches make a step
            method.losses(batch)
        method.after_step()
    assert chosen == [0, 2, 4]
    method.model.eval()
    method.after_step()
    method.losses(batch)
    assert chosen == [0, 2, 4]


def test_a_batch_without_labels_tells_nothing_and_the_next_one_is_measured():
    method = gating(interval=100)
    empty = make_batch(2, 32) | {'mask': torch.full((2, 32, 32), 255)}
    before = method.opened()
    method.losses(empty)
    method.after_step()
    assert method.opened() == before
    method.losses(make_batch(2, 32))
    assert len(method.opened()) == 5
    assert int(method.chosen_at) == 0


@pytest.mark.parametrize('images', [1, 2])
@pytest.mark.parametrize('around', [FeatureDistance, DomainAdversarial])
def test_measuring_is_no_pass_of_the_batch_for_methods_around_it(around, images):
    torch.manual_seed(0)
    model = adapted_fpn('test_vit', 'gate', num_classes=3, img_size=64, rank=2, width=4)
    inside = FisherGating(SourceOnly(model, THREE), top=5)
    options = {'things': ['house']}
    if around is DomainAdversarial:
        options = {'num_domains': 2, 'total_steps': 10}
    method = around(inside, **options).train()
    sum(method.losses(make_batch(images)).values()).backward()


def test_measuring_leaves_gradients_and_modes_alone():
    method = gating()
    method.losses(make_batch(2, 32))
    assert all(p.grad is None for p in method.parameters())
    assert method.model.decoder.training
    assert not method.model.backbone.vit.training


def test_models_without_a_gate_and_numbers_without_a_meaning_are_refused():
    with pytest.raises(ConfigError, match='Segmenter has no gated modules'):
        FisherGating(plain())
    with pytest.raises(ConfigError, match='interval=0, top=5: expected at least 1 step'):
        gating(interval=0)
    with pytest.raises(ConfigError, match=r'top=19: expected .* 1 to 18'):
        gating(top=19)


def test_the_information_of_an_image_is_its_own_whatever_other_processes_have(monkeypatch):
    """The processes exchange what each has measured, and nothing before."""
    exchanged = []
    batch = make_batch(2, 32)
    method = gating()
    method._choose(batch)
    alone = method.opened()
    monkeypatch.setattr(distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(distributed, 'get_world_size', lambda: 2)
    monkeypatch.setattr(distributed, 'all_reduce', exchanged.append)
    method = gating()
    method._choose(batch)
    assert [len(values) for values in exchanged] == [len(gated_modules(method.model))]
    assert method.opened() == alone
