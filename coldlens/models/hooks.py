"""Hooks on modules for a while, and whether there are others."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn
from torch.nn.modules import module as every_module

_RECORDING = "transformers.utils.output_capturing"

_ours: set[int] = set()
"""What torch calls the hooks that `hooked` has on modules at the time."""


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
            handle = module.register_forward_hook(hook)
            handles.callback(handle.remove)
            _ours.add(handle.id)
            handles.callback(_ours.discard, handle.id)
        yield


def watched(modules: Iterable[nn.Module]) -> bool:
    """Returns whether somebody's hook sees one of the modules.

    Those of `hooked` do not count, nor those by which Hugging Face records outputs on demand.

    Args:
        modules: The modules.

    Returns:
        True also where a hook is on all modules of the process.
    """
    if every_module._global_forward_hooks or every_module._global_forward_pre_hooks:
        return True
    return any(
        key not in _ours and getattr(hook, "__module__", None) != _RECORDING
        for module in modules
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        for key, hook in hooks.items()
    )
