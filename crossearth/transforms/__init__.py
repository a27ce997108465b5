"""Augmentations of batches, on the device."""

__all__: list[str] = []
