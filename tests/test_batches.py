import torch

from crossearth.batches import spatial_keys


def test_only_tensors_on_the_pixels_of_the_image_are_named():
    batch = {
        'mask': torch.zeros(2, 8, 9),
        'image': torch.zeros(2, 3, 8, 9),
        'bands': torch.zeros(2, 5, 8, 9),
        'half': torch.zeros(2, 4, 4),
        'other': torch.zeros(3, 8, 9),
        'bounds': torch.zeros(2, 9),
    }
    assert spatial_keys(batch) == ['mask', 'bands']
