"""The modules that are linear maps."""

from torch import nn
from transformers.pytorch_utils import Conv1D

LINEAR_MAPS = (nn.Linear, Conv1D, nn.Embedding)
"""Modules whose output is a weight times their input (plus a bias), token by token."""
