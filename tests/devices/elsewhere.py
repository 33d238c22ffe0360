"""A second device on a machine that has none: `elsewhere:0`, whose values lie in main memory.

They are real, gradients and tangents go through it, and an operation that mixes it with the CPU
fails as it does on real devices. Importing this changes torch for the whole process.
"""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

_ATEN = torch.ops.aten
_COPIES = {_ATEN._to_copy.default, _ATEN.copy_.default}
_WAITS = {
    _ATEN._local_scalar_dense.default,
    _ATEN.is_nonzero.default,
    _ATEN.equal.default,
    _ATEN.nonzero.default,
    _ATEN.masked_select.default,
    _ATEN._unique2.default,
}
"""What the host must wait for: a value, or a shape that depends on one."""
_INDEXING = {_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default}


class _Backend(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]

    def get_rng_state(self, _device: Any = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, _state: Tensor, _device: Any = None) -> None:
        pass


_setup_privateuseone_for_python_backend("elsewhere", _Backend())
CPU, ELSEWHERE = torch.device("cpu"), torch.device("elsewhere:0")


class _Far(Tensor):
    """A tensor elsewhere, which keeps its values in one on the CPU."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> "_Far":
        far = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=ELSEWHERE,
        )
        far.inner = inner
        return far

    def __repr__(self) -> str:
        return f"elsewhere({self.inner})"

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.inner.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None) -> Any:
        return _run(func, args, kwargs or {}) if _known(types) else NotImplemented


class _Sent(TorchFunctionMode):
    """Makes `torch.tensor(..., device=elsewhere)` here, and sends it."""

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        kwargs = dict(kwargs or {})
        device = kwargs.pop("device", None) if func is torch.tensor else None
        result = func(*args, **kwargs)
        return result if device is None else result.to(device)


class TwoDevices(TorchDispatchMode):
    """Lets tensors be made elsewhere, and counts what the host waits for there.

    Attributes:
        waits: By operation; copies between the devices are among them.
    """

    def __init__(self) -> None:
        """Counts from zero."""
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._sent = _Sent()

    def __enter__(self) -> "TwoDevices":
        """Begins, and returns itself."""
        self._sent.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """Ends."""
        super().__exit__(*error)
        self._sent.__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        """Returns what the operation gives."""
        if not _known(types):
            return NotImplemented
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        result = _run(func, args, kwargs)
        if any(isinstance(one, _Far) for one in (*tensors, *tree_leaves(result))):
            masked = func in _INDEXING and any(
                one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
            )
            if func in _WAITS or masked or (func in _COPIES and _crosses(tensors, result)):
                self.waits[str(func)] += 1
        return result


def _known(types: Any) -> bool:
    """Returns whether no other class, which computes with tensors of its own, must go first."""
    return set(types) <= {Tensor, torch.nn.Parameter, _Far}


def _crosses(tensors: list[Tensor], result: Tensor) -> bool:
    return len({isinstance(one, _Far) for one in (*tensors, result)}) == 2


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    far = [isinstance(one, _Far) for one in tensors]
    # As everywhere, a number that is a tensor on the CPU may meet any other.
    mixed = {isinstance(one, _Far) for one in tensors if one.ndim or isinstance(one, _Far)}
    if len(mixed) == 2 and func not in _COPIES:
        raise RuntimeError(f"tensors on two devices in {func}")
    device = next((one for one in (*args, *kwargs.values()) if isinstance(one, torch.device)), None)
    args, kwargs = tree_map_only(torch.device, lambda _: CPU, (args, kwargs))
    if func is _ATEN._efficientzerotensor.default:
        func = _ATEN.zeros.default
    inside, named = tree_map(_inner, (args, kwargs))
    result = func(*inside, **named)
    if func._schema.is_mutable and args and isinstance(args[0], Tensor):
        return args[0]
    if any(far) if device is None else device.type == ELSEWHERE.type:
        return tree_map(lambda one: _Far(one) if isinstance(one, Tensor) else one, result)
    return result


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, _Far) else value
