"""The modules that are linear maps, and hooks on modules for a while."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from weakref import WeakSet

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LINEAR_MAPS = (nn.Linear, Conv1D, nn.Embedding)
"""Modules whose output is a weight times their input (plus a bias), token by token."""


_hooks: WeakSet[Callable[..., object]] = WeakSet()
"""Hooks that `hooked` put on modules."""


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
            _hooks.add(hook)
            handles.callback(module.register_forward_hook(hook).remove)
        yield


def watched(modules: Iterable[nn.Module]) -> bool:
    """Returns whether a hook other than those of `hooked` sees one of the modules."""
    return any(
        hook not in _hooks
        for module in modules
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        for hook in hooks.values()
    )
