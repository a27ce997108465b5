from torch import nn

from crossearth.labels import ROAD
from crossearth.trainers import (
    SWAD,
    AverageWeights,
    CheckNorms,
    SaveModel,
    SourceOnly,
    TrainingTask,
)


def test_a_task_and_its_method_name_their_arguments():
    task = TrainingTask(SourceOnly(nn.Conv2d(3, 2, 1), ROAD), lr=1e-3, warmup_steps=5)
    text = repr(task)
    assert text.startswith('TrainingTask(\n  lr=0.001, weight_decay=0.05, decay_biases=False')
    assert 'warmup_steps=5' in text
    assert "(method): SourceOnly(\n    labels='road', style=None\n    (model): Conv2d(3, 2" in text


def test_callbacks_name_their_arguments():
    assert repr(AverageWeights(0.99)) == 'AverageWeights(decay=0.99, start_step=0)'
    assert repr(SaveModel('a/m.safetensors')) == (
        "SaveModel(path='a/m.safetensors', source_windows=64)"
    )
    assert repr(SWAD(patience=2)) == (
        "SWAD(monitor='val/mIoU', mode='max', patience=2, tolerance=6, ratio=1.3)"
    )
    assert repr(CheckNorms()) == 'CheckNorms()'
