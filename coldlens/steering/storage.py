"""Steering files: safetensors with a JSON header, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from coldlens.errors import SteeringError
from coldlens.files import whole_file

FORMAT = "coldlens-steering-1"


def write_file(path: Path, tensors: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Writes tensors and a header, whole or not at all.

    Args:
        path: The file; its folder is made if it is not there.
        tensors: The tensors.
        header: JSON values.

    Raises:
        SteeringError: If there is a file that is no steering.
    """
    if path.exists() and not _ours(path):
        raise SteeringError(
            expected="a new file, or one that Steering.save wrote",
            found=f"another one: {path}",
            fix="Choose another name, or remove it",
        )
    metadata = {"format": FORMAT, "coldlens": json.dumps(header)}
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with whole_file(path) as part:
        save_file(plain, part, metadata)


def _ours(path: Path) -> bool:
    try:
        with safe_open(path, framework="pt") as file:
            return "coldlens" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def read_file(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads tensors and header back.

    Args:
        path: The file.
        device: Where the tensors go.

    Returns:
        The tensors and the header.

    Raises:
        SteeringError: If there is no such file, it is corrupt, or coldlens did not write it.
    """
    if not path.is_file():
        raise SteeringError(
            expected="a steering file", found=f"no file {path}", fix="Check the path"
        )
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SteeringError(
            expected="a readable safetensors file",
            found=f"{path}: {error}",
            fix="The file is damaged or of another kind; save the steering again",
        ) from error
    if metadata.get("format") != FORMAT:
        raise SteeringError(
            expected=f"a file of format {FORMAT}",
            found=f"{path} with format {metadata.get('format')!r}",
            fix="Only files written by Steering.save can be loaded",
        )
    try:
        header = json.loads(metadata["coldlens"])
    except (KeyError, ValueError) as error:
        raise SteeringError(
            expected="a header in JSON",
            found=f"{path} with another one ({error})",
            fix="The file is damaged; save the steering again",
        ) from error
    return tensors, header
