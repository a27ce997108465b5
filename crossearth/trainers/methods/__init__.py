"""Training methods: what a batch is learnt from."""

from crossearth.trainers.methods.method import Batch, Method, Role, roles, segmentation_losses

__all__ = ['Batch', 'Method', 'Role', 'roles', 'segmentation_losses']
