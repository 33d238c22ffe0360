"""The modules that are linear maps, and hooks on modules for a while."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LINEAR_MAPS = (nn.Linear, Conv1D, nn.Embedding)
"""Modules whose output is a weight times their input (plus a bias), token by token."""


@contextmanager
def hooked(hooks: Mapping[nn.Module, Callable[..., Tensor | None]]) -> Iterator[None]:
    """Puts forward hooks on modules, and takes them away again, also after an exception.

    Args:
        hooks: What to call with module, inputs and output of each; a result replaces the output.

    Yields:
        Nothing.
    """
    with ExitStack() as handles:
        for module, hook in hooks.items():
            handles.callback(module.register_forward_hook(hook).remove)
        yield
