import copy

import kornia.augmentation as K
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from crossearth.datasets import FolderDataset, ShiftDataModule
from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import LabelSpace
from crossearth.models import Segmenter
from crossearth.models.backbones import TimmPyramid
from crossearth.models.decoders import Mask2FormerDecoder
from crossearth.models.decoders.mask_classification import MaskLosses
from crossearth.trainers import SelfTraining, SourceOnly, TrainingTask, build_training
from crossearth.trainers.methods import roles
from crossearth.trainers.methods.mixing import pixels_of
from crossearth.trainers.methods.self_training import pseudo_labels, weighted_losses
from crossearth.transforms import PatchMask

TWO = LabelSpace('two', ('dark', 'bright'), ((0, 0, 0), (255, 255, 255)))


class Scaled(nn.Module):
    """Two classes, by the first band against one half; `frozen` and a norm on the way."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Conv2d(1, 1, 1).requires_grad_(False)
        self.norm = nn.BatchNorm2d(1)
        self.slope = nn.Parameter(torch.tensor(8.0))
        nn.init.ones_(self.frozen.weight)
        nn.init.zeros_(self.frozen.bias)

    def forward(self, image):
        score = self.slope * (self.frozen(image[:, :1]) - 0.5) + 0 * self.norm(image[:, :1])
        return torch.cat([-score, score], dim=1) / 2


def two_images(**extra):
    mask = torch.zeros(2, 8, 8).long()
    mask[:, :, 4:] = 1
    image = mask[:, None] * 0.8 + 0.1
    return {'image': image, 'mask': mask, 'target_image': torch.rand(2, 1, 8, 8), **extra}


def test_the_teacher_is_the_average_of_the_formula_after_each_step():
    method = SelfTraining(Scaled(), TWO, decay=0.7)
    average = 8.0
    # alpha = min(1 - 1 / (t + 1), 0.7): 1/2, 2/3, 0.7, 0.7
    for alpha, student in ((1 / 2, 4.0), (2 / 3, 1.0), (0.7, 10.0), (0.7, 2.0)):
        method.model.slope.data.fill_(student)
        method.model.norm.running_mean.fill_(student)
        method.after_step()
        average = alpha * average + (1 - alpha) * student
        assert float(method.teacher.slope) == pytest.approx(average, rel=1e-6)
        assert float(method.teacher.norm.running_mean) == student
    assert int(method.steps) == 4
    assert float(method.model.slope.detach()) == 2


def test_the_teacher_shares_what_is_frozen_and_is_saved_without_it():
    method = SelfTraining(Scaled(), TWO)
    assert method.teacher.frozen.weight is method.model.frozen.weight
    assert method.teacher.slope is not method.model.slope
    assert not any(p.requires_grad for p in method.teacher.parameters())
    assert not method.teacher.training
    found = roles(method)
    assert {name for name, role in found.items() if role == 'kept'} == {
        name for name in found if name.startswith(('teacher.slope', 'teacher.norm'))
    }
    assert found['teacher.frozen.weight'] == found['model.frozen.weight'] == 'pretrained'
    assert found['steps'] == found['class_pixels'] == 'trains'


def test_the_scored_model_is_the_teacher_unless_told_otherwise():
    method = SelfTraining(Scaled(), TWO)
    assert method.scored is method.teacher
    student = SelfTraining(Scaled(), TWO, scores='student')
    assert student.scored is student.model


def test_pseudo_labels_and_their_quality_are_those_of_the_probabilities():
    # sigmoid(8 (x - 0.5)): 0.1 -> 0.039, 0.4 -> 0.31, 0.8 -> 0.917, 0.95 -> 0.973
    image = torch.tensor([[0.1, 0.4, 0.8, 0.95], [0.4, 0.4, 0.4, 0.4]]).view(2, 1, 1, 4)
    valid = torch.tensor([[True, True, True, True], [True, False, True, True]]).view(2, 1, 4)
    teacher = Scaled().eval()
    ids, quality = pseudo_labels(teacher, image, valid, TWO, threshold=0.9)
    assert ids.tolist() == [[[0, 0, 1, 1]], [[0, 255, 0, 0]]]
    assert quality.tolist() == [0.75, 0.0]
    _, strict = pseudo_labels(teacher, image, valid, TWO, threshold=0.965)
    assert strict.tolist() == [0.25, 0.0]
    _, loose = pseudo_labels(teacher, image, None, TWO, threshold=0.5)
    assert loose.tolist() == [1.0, 1.0]


def test_weights_are_those_of_each_pixel():
    model = Scaled()
    image, mask = torch.rand(2, 1, 3, 3), torch.randint(0, 2, (2, 3, 3))
    mask[0, 0] = 255
    weights = torch.rand(2, 3, 3)
    terms = weighted_losses(model, image, mask, weights, TWO)
    by_hand = 0.0
    log_p = model(image).detach().log_softmax(1)
    for b, row, col in (mask != 255).nonzero().tolist():
        by_hand -= float(log_p[b, mask[b, row, col], row, col] * weights[b, row, col])
    assert float(terms['loss_ce'].detach()) == pytest.approx(by_hand / 15, rel=1e-4)
    nothing = weighted_losses(model, image, torch.full_like(mask, 255), weights, TWO)
    assert float(nothing['loss_ce'].detach()) == 0


def test_the_student_learns_images_in_which_exactly_the_drawn_classes_are_pasted():
    seen = []

    class Strong(nn.Module):
        def forward(self, image):
            seen.append(image)
            return 1 - image

    generator = torch.Generator().manual_seed(3)
    method = SelfTraining(Scaled(), TWO, strong=Strong(), threshold=0.6, generator=generator)
    batch = two_images()
    terms = method.losses(batch)
    (mixed,) = seen
    ids, quality = pseudo_labels(method.teacher, batch['target_image'], None, TWO, threshold=0.6)
    assert 0 < quality.min() < 1
    drawn = torch.stack(
        [
            (mixed[i, 0] == batch['image'][i, 0])[batch['mask'][i] == c].all()
            for i in (0, 1)
            for c in (0, 1)
        ]
    ).view(2, 2)
    assert drawn.sum(1).tolist() == [1, 1]  # half of two classes
    pasted = pixels_of(drawn, batch['mask'])
    assert torch.equal(mixed, torch.where(pasted[:, None], batch['image'], batch['target_image']))
    labels = torch.where(pasted, batch['mask'], ids)
    weights = torch.where(pasted, 1.0, quality[:, None, None])
    entropy = F.cross_entropy(method.model(1 - mixed), labels, reduction='none')
    torch.testing.assert_close(terms['loss_target'], (entropy * weights).mean())


def test_hidden_patches_are_learnt_from_the_labels_of_the_whole_image():
    hide = PatchMask(4, 0.5, generator=torch.Generator().manual_seed(0))
    method = SelfTraining(Scaled(), TWO, mask=hide, mask_weight=2.0, threshold=0.0)
    batch = two_images()
    terms = method.losses(batch)
    hide.generator.manual_seed(0)
    logits = method.model(hide(batch['target_image']))
    ids = (batch['target_image'][:, 0] > 0.5).long()
    torch.testing.assert_close(terms['loss_masked'], 2 * F.cross_entropy(logits, ids))


def test_pixels_without_data_teach_nothing():
    method = SelfTraining(Scaled(), TWO, mask=nn.Identity(), threshold=0.0)
    empty = torch.zeros(2, 8, 8).bool()
    batch = two_images(target_valid=empty)
    batch['mask'].fill_(255)  # nothing is pasted
    terms = method.losses(batch)
    assert float(terms['loss_target'].detach()) == float(terms['loss_masked'].detach()) == 0


def test_fewer_source_windows_are_pasted_in_turn():
    batch = two_images(target_image=torch.rand(5, 1, 8, 8))
    assert SelfTraining(Scaled(), TWO).losses(batch)['loss_target'].isfinite()


def test_a_mask_classifier_learns_by_its_own_losses_times_the_mean_weight():
    import timm

    torch.manual_seed(0)
    backbone = TimmPyramid(timm.create_model('resnet10t'))
    decoder = Mask2FormerDecoder(
        backbone.channels, 2, dim=32, depth=1, pixel_depth=1, ffn_dim=16, pixel_ffn_dim=16,
        queries=4, link_queries=False, loss=MaskLosses(points=16),
    )  # fmt: skip
    model = Segmenter(backbone, decoder, mean=(0.5,) * 3, std=(0.2,) * 3).eval()
    image, mask = torch.rand(1, 3, 64, 64), torch.randint(0, 2, (1, 64, 64))
    weights = torch.rand(1, 64, 64)
    mask[:, :4] = 255
    torch.manual_seed(1)
    terms = weighted_losses(model, image, mask, weights, TWO)
    torch.manual_seed(1)
    plain = model.losses(image, mask)
    mean = weights[:, 4:].mean()
    assert terms.keys() == plain.keys()
    for name, value in terms.items():
        torch.testing.assert_close(value, mean * plain[name])
    ids, quality = pseudo_labels(model, image, None, TWO, threshold=0.99)
    scores = model(image).detach()
    assert torch.equal(ids, scores.argmax(1))
    assert float(quality) == float((scores.amax(1) > 0.99).float().mean())


def test_what_cannot_be_is_refused():
    batch = two_images()
    del batch['target_image']
    with pytest.raises(ConfigError, match=r'give the data module target=, such as ShiftDataModule'):
        SelfTraining(Scaled(), TWO).losses(batch)
    with pytest.raises(ShapeError, match='expected one size'):
        SelfTraining(Scaled(), TWO).losses(two_images(target_image=torch.rand(2, 1, 4, 4)))
    with pytest.raises(ConfigError, match='bf16-mixed'):
        SelfTraining(Scaled().bfloat16(), TWO).losses(two_images())
    with pytest.raises(ConfigError, match='expected 0 ≤ decay < 1'):
        SelfTraining(Scaled(), TWO, decay=1.0)
    with pytest.raises(ConfigError, match='mask_weight=-1'):
        SelfTraining(Scaled(), TWO, mask_weight=-1.0)


class Learner(nn.Module):
    """A perceptron of each pixel and its two bands."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(2, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def forward(self, image):
        return self.layers(image * 4 - 2)


@pytest.fixture
def write_shifted(write_raster, tmp_path):
    """A function that writes a source, and a target that is darker in the first band.

    The target's bright pixels lie half way between bright and dark ones of the source. The second
    band is noisy, and the same in both.
    """

    def write(name, *, seed, scale):
        rng = np.random.default_rng(seed)
        blocks = rng.integers(0, 2, (1, 16, 16), np.uint8).repeat(4, 1).repeat(4, 2)
        clear = (np.where(blocks == 1, 200, 60) + rng.normal(0, 15, blocks.shape)) * scale
        noisy = np.where(blocks == 1, 155, 100) + rng.normal(0, 30, blocks.shape)
        pixels = np.concatenate([clear, noisy]).clip(0, 255).astype(np.uint8)
        write_raster(f'{name}/images/a.tif', pixels)
        write_raster(f'{name}/masks/a.tif', blocks)
        return FolderDataset(tmp_path / name / 'images', tmp_path / name / 'masks', labels=TWO)

    def both(seed):
        source = write(f'source{seed}', seed=10 * seed, scale=1.0)
        return source, write(f'target{seed}', seed=10 * seed + 1, scale=0.65)

    return both


@pytest.fixture
def shifted(write_shifted):
    return write_shifted(0)


def module(shifted, *, target):
    source, far = shifted
    return ShiftDataModule(
        source,
        unseen={'far': far},
        target=far if target else None,
        size_px=32,
        windows_per_epoch=64,
        batch_size=4,
    )


def trainer(folder, steps, **options):
    return pl.Trainer(
        accelerator='cpu',
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        use_distributed_sampler=False,
        **options,
    )


quiet = pytest.mark.filterwarnings('ignore:Total length of .list. across ranks')


def score(folder, method, shifted, steps, *, target=False):
    """mIoU on the target after some steps."""
    task = TrainingTask(method, lr=0.02)
    data = module(shifted, target=target)
    run = trainer(folder, steps)
    run.fit(task, datamodule=data)
    run.test(task, datamodule=data, verbose=False)
    return float(run.callback_metrics['test/far/mIoU'])


@quiet
@pytest.mark.slow
def test_it_adapts_to_a_darker_place_without_a_label_of_it(tmp_path, write_shifted):
    gains = []
    for seed in range(3):
        shifted = write_shifted(seed)
        pl.seed_everything(seed, verbose=False)
        model = Learner()
        plain = score(tmp_path, SourceOnly(model, TWO), shifted, 150)
        # From here on with noise, for as many steps: the source alone, or with the target.
        noise = K.RandomGaussianNoise(std=0.15, p=1.0)
        alone = SourceOnly(copy.deepcopy(model), TWO, style=noise)
        pl.seed_everything(seed, verbose=False)
        noisy = score(tmp_path, alone, shifted, 300)
        method = SelfTraining(copy.deepcopy(model), TWO, strong=noise)
        pl.seed_everything(seed, verbose=False)
        gains.append(score(tmp_path, method, shifted, 300, target=True) - max(plain, noisy))
    assert sum(gains) / 3 > 0.05, gains


@quiet
def test_it_resumes_bit_for_bit(tmp_path, shifted):
    def build(seed):
        pl.seed_everything(seed, verbose=False)
        generator = torch.Generator().manual_seed(seed)
        method = SelfTraining(
            Learner(), TWO, mask=PatchMask(8, 0.5), decay=0.9, generator=generator
        )
        return TrainingTask(method, lr=0.02, decay_steps=20), module(shifted, target=True)

    path = tmp_path / 'middle.ckpt'

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # noqa: ARG002 -- lightning's signature
            if trainer.global_step == 7:
                trainer.save_checkpoint(path)

    whole, data = build(0)
    trainer(tmp_path, 20, callbacks=[Save()]).fit(whole, datamodule=data)
    again, data = build(99)
    trainer(tmp_path, 20).fit(again, datamodule=data, ckpt_path=path, weights_only=True)
    expected, found = whole.state_dict(), again.state_dict()
    assert not torch.equal(
        expected['method.teacher.layers.0.weight'], expected['method.model.layers.0.weight']
    )
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert int(found['method.steps']) == 20


@pytest.mark.filterwarnings('ignore')  # lightning's notices about programs that build recipes
@pytest.mark.parametrize('names', [(), ('near', 'far')])
def test_a_recipe_names_method_and_target(tmp_path, shifted, names):
    def folder(name):
        place = str(tmp_path / name / 'images')
        masks = {'masks': str(tmp_path / name / 'masks')} if name == 'source0' else {}
        return {
            'class_path': 'crossearth.datasets.FolderDataset',
            'init_args': {'images': place, 'labels': labels, **masks},
        }

    labels = {'name': 'two', 'classes': ['dark', 'bright'], 'palette': [[0, 0, 0], [255, 255, 255]]}
    target = {name: folder('target0') for name in names} or folder('target0')
    hide = {
        'class_path': 'crossearth.transforms.PatchMask',
        'init_args': {'patch_size': 8, 'ratio': 0.5},
    }
    method = {
        'class_path': 'crossearth.trainers.SelfTraining',
        'init_args': {
            'model': {
                'class_path': 'crossearth.models.fpn_timm',
                'init_args': {'name': 'resnet10t', 'num_classes': 2, 'width': 8, 'in_channels': 2},
            },
            'labels': labels,
            'decay': 0.9,
            'mask': hide,
        },
    }
    built = build_training(
        {
            'model': {
                'class_path': 'crossearth.trainers.TrainingTask',
                'init_args': {'method': method},
            },
            'data': {
                'class_path': 'crossearth.datasets.ShiftDataModule',
                'init_args': {'train': folder('source0'), 'target': target, 'size_px': 32},
            },
            'trainer': {'accelerator': 'cpu', 'logger': False},
        }
    )
    assert built.data.adaptation
    assert built.data.target.domains == (names or ('',))
    assert built.task.method.decay == 0.9
    assert built.task.model is built.task.method.teacher
