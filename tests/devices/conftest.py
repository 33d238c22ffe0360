"""A process of its own for what changes torch altogether: a second device on the CPU."""

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

Check = Callable[..., Any]


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Check]:
    """Calls a function of `devices.checks` by name where the device `elsewhere:0` exists."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield lambda name, *args: process.submit(_call, name, args).result()


def _call(name: str, args: tuple[Any, ...]) -> Any:
    return getattr(importlib.import_module("devices.checks"), name)(*args)
