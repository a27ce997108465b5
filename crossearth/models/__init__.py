"""Backbones, adapters and decoders; `crossearth.models` needs torch and timm only."""

from crossearth.models.features import Backbone, Features

__all__ = ['Backbone', 'Features']
