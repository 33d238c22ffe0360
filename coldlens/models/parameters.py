"""The parameters of a bridge: names, which are upstream of a layer, exchange, fingerprint."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from coldlens.models.casting import Deferred, cast
from coldlens.models.guards import working_dtype
from coldlens.models.offload import nothing_loaded, on_use


@dataclass(frozen=True)
class Parameter:
    """One parameter and every place of the module tree that holds it.

    Attributes:
        name: Path in the Hugging Face model, without the bridge's wrappers.
        tensor: The caller's own parameter, or one that is loaded for each operation where it is
            offloaded; inside `exchanged` what took its place.
        slots: `(module, attribute)` pairs; a tied parameter has several.
    """

    name: str
    tensor: Tensor
    slots: tuple[tuple[nn.Module, str], ...]


def parameters(model: TransformerBridge) -> dict[str, Parameter]:
    """Lists every parameter once, tied ones included.

    A bridge registers modules under several paths; here each module and each tensor counts once.

    Args:
        model: The model.

    Returns:
        Parameters by name, in the order of the module tree.
    """
    # What is offloaded has lost its identity: Hugging Face knows by name what is tied.
    tied: dict[str, str] = getattr(model.original_model, "all_tied_weights_keys", {})
    names: dict[int, str] = {}
    found: dict[str, tuple[Tensor, list[tuple[nn.Module, str]]]] = {}
    for path, module in model.original_model.named_modules():
        for attribute, tensor in module._parameters.items():
            if tensor is not None:
                name = f"{path}.{attribute}".replace("._original_component", "")
                first = names.setdefault(id(tensor), name)
                if tensor.is_meta:
                    first = tied.get(name, name)
                slots = found.setdefault(first, (on_use(module, attribute), []))[1]
                slots.append((module, attribute))
    return {name: Parameter(name, tensor, tuple(slots)) for name, (tensor, slots) in found.items()}


def upstream(
    model: TransformerBridge, layer: int, known: Mapping[str, Parameter] | None = None
) -> dict[str, Parameter]:
    """Lists the parameters that can move the residual stream after block `layer`.

    These are all but the ones that live only in later blocks, the final norm or the unembedding.
    A tied embedding is upstream, although it acts downstream too.

    Args:
        model: The model.
        layer: 0-based block.
        known: What `parameters` lists, where the caller has that.

    Returns:
        Parameters by name.
    """
    known = parameters(model) if known is None else known
    later: list[nn.Module] = list(model.blocks[layer + 1 :])
    later += [getattr(model, name) for name in ("ln_final", "unembed") if hasattr(model, name)]
    downstream = {id(module) for part in later for module in part.modules()}
    return {
        name: parameter
        for name, parameter in known.items()
        if any(id(module) not in downstream for module, _ in parameter.slots)
    }


def accurate_parameters(
    model: TransformerBridge,
    layer: int,
    dtype: torch.dtype | None = None,
    known: Mapping[str, Parameter] | None = None,
) -> dict[str, Tensor]:
    """Returns the parameters upstream of a layer in float32 or better, without a graph or a copy.

    Args:
        model: The model.
        layer: The deepest layer that will be read.
        dtype: Another dtype to compute in.
        known: What `parameters` lists, where the caller has that.

    Returns:
        Values by name, of the parameters that are floating-point tensors: on the parameters' own
        storage, cast at each use where they are in another dtype (`cast`).
    """
    dtype = dtype or working_dtype(model)
    return {
        name: cast(found.tensor.detach(), dtype)
        for name, found in upstream(model, layer, known).items()
        if found.tensor.is_floating_point()
    }


@contextmanager
def exchanged(
    model: TransformerBridge,
    values: Mapping[str, Tensor],
    known: Mapping[str, Parameter] | None = None,
) -> Iterator[None]:
    """Lets the model compute with other parameter values, without touching its own.

    Each slot of each named parameter holds the given tensor inside the context, and the caller's
    own parameter object again afterwards, also after an exception. Values may be leaves of a
    graph or dual tensors. What is offloaded is loaded for each operation inside, not as a module
    is called.

    Args:
        model: The model.
        values: New values by parameter name.
        known: What `parameters` lists, where the caller has that.

    Yields:
        Nothing.
    """
    known = parameters(model) if known is None else known
    deferred = {name: p.tensor for name, p in known.items() if isinstance(p.tensor, Deferred)}
    places = [(known[name], value) for name, value in {**deferred, **values}.items()]
    slots = [slot for parameter, _ in places for slot in parameter.slots]
    own = [(module, name, module._parameters[name]) for module, name in slots]
    buffers: list[tuple[nn.Module, str, Tensor]] = []
    with nothing_loaded(model) if deferred else nullcontext():
        try:
            for parameter, value in places:
                for module, attribute in parameter.slots:
                    module._parameters[attribute] = value  # pyright: ignore[reportArgumentType]
                    if value.dtype != parameter.tensor.dtype:
                        buffers += _cast_buffers(module, parameter.tensor.dtype, value.dtype)
            yield
        finally:
            for module, name, tensor in own:
                module._parameters[name] = tensor
            for module, name, buffer in buffers:
                module._buffers[name] = buffer


def _cast_buffers(
    module: nn.Module, old: torch.dtype, new: torch.dtype
) -> list[tuple[nn.Module, str, Tensor]]:
    """Casts the buffers of a module that share its weight's dtype.

    A bridge gives an unembedding without bias one of zeros, as a buffer.

    Args:
        module: The module.
        old: The weight's own dtype.
        new: The dtype to cast to.

    Returns:
        Module, name and the old tensor of each buffer that was cast.
    """
    found = [
        (module, name, buffer)
        for name, buffer in module._buffers.items()
        if buffer is not None and buffer.dtype == old
    ]
    for _, name, buffer in found:
        module._buffers[name] = buffer.to(new)
    return found


_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_SAMPLED = 4096
_AT_ONCE = 1 << 20
_PROBED = 64
_fingerprints: WeakKeyDictionary[TransformerBridge, tuple[tuple[float | int, ...], str]] = (
    WeakKeyDictionary()
)


def fingerprint(model: TransformerBridge) -> str:
    """Identifies the weights of a model.

    Hashes name, shape, dtype, a checksum of the bits and up to 4096 evenly spaced entries of every
    parameter, so any training step or other checkpoint gives another fingerprint. Computed again
    only after a parameter was changed in place or replaced; a change through `.data` is noticed if
    it touches some of 64 evenly spaced entries, as that of an optimiser or a merged adapter does.

    Args:
        model: The model.

    Returns:
        32 hexadecimal digits.
    """
    found = parameters(model)
    state = _state([parameter.tensor for parameter in found.values()])
    known = _fingerprints.get(model)
    if known is None or known[0] != state:
        digest = hashlib.sha256()
        for name, parameter in found.items():
            flat = parameter.tensor.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // _SAMPLED)].to("cpu", torch.float64)
            # Integers: their sum does not depend on the order, so not on threads or device.
            # In pieces, since a sum in another dtype makes a copy in that dtype first.
            pieces = flat.view(_BITS[flat.element_size()]).split(_AT_ONCE)
            total = torch.stack([one.sum(dtype=torch.int64) for one in pieces]).sum().item()
            digest.update(f"{name} {tuple(parameter.tensor.shape)} {flat.dtype} {total}".encode())
            digest.update(sample.numpy().tobytes())
        known = _fingerprints[model] = (state, digest.hexdigest()[:32])
    return known[1]


def _state(tensors: list[Tensor]) -> tuple[float | int, ...]:
    """Returns what changes with the tensors; the probes are for `.data`, which keeps versions."""
    probes: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        flat = tensor.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // _PROBED)]
        probes.setdefault(tensor.device, []).append(sample.sum(dtype=torch.float64))
    places = [number for one in tensors for number in (one.data_ptr(), one._version)]
    return (*places, *(one for found in probes.values() for one in torch.stack(found).tolist()))
