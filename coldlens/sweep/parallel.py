"""Units of work on one process, several, or a cluster."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeVar

import torch
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from coldlens.errors import ArgumentError

Backend = Literal["local", "dask"]
Result = TypeVar("Result")

_PATIENCE = "5s"
"""How long a scheduler may take to answer."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Computes with so many threads whatever is set around it, so that results stay the same.

    Args:
        count: The number of threads.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    with threadpool_limits(count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


class Workers:
    """Where units of work run; the connection to a cluster is made at once."""

    def __init__(self, jobs: int, backend: Backend, scheduler: str | None) -> None:
        """Checks the arguments and connects.

        Args:
            jobs: Processes at a time, on this machine.
            backend: `"local"` or `"dask"`.
            scheduler: Address of the Dask scheduler.

        Raises:
            ArgumentError: If backend and scheduler do not go together.
        """
        if (backend == "dask") != (scheduler is not None):
            raise ArgumentError(
                expected='backend="dask" and a scheduler together',
                found=f"backend = {backend!r}, scheduler = {scheduler!r}",
                fix='Pass both, as in scheduler="tcp://127.0.0.1:8786", or neither',
            )
        self.jobs = jobs
        self._client = None if scheduler is None else _connected(scheduler)
        if self._client is not None:
            self.jobs = len(self._client.scheduler_info(n_workers=-1)["workers"])

    def run(
        self, call: Callable[..., Result], tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[Result]:
        """Runs all tasks.

        Args:
            call: What to run; it and its arguments travel to the workers.
            tasks: Its arguments.

        Yields:
            Results, as they come.
        """
        if self._client is None and self.jobs == 1:
            for task in tasks:
                yield call(*task)
            return
        with ExitStack() as stack:
            if self._client is None:
                config = parallel_config("loky", n_jobs=self.jobs, inner_max_num_threads=1)
            else:
                config = parallel_config("dask", client=self._client, pure=False)
            stack.enter_context(config)
            settings: dict[str, Any] = {"batch_size": 1, "pre_dispatch": "all"}
            parallel: Any = Parallel(return_as="generator_unordered", **settings)
            yield from parallel(delayed(call)(*task) for task in tasks)

    def __enter__(self) -> "Workers":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the connection to a cluster."""
        if self._client is not None:
            self._client.close()


def _connected(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ArgumentError(
            expected='the package distributed for backend="dask"',
            found="none",
            fix='Install it with pip install "coldlens[cluster]"',
        ) from error
    try:
        client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ArgumentError(
            expected=f"a Dask scheduler that answers at {scheduler!r} within {_PATIENCE}",
            found=f"{type(error).__name__}: {error}",
            fix="Start one with dask scheduler, and check the address",
        ) from error
    if not client.scheduler_info(n_workers=-1)["workers"]:
        client.close()
        raise ArgumentError(
            expected=f"a Dask scheduler with workers at {scheduler!r}",
            found="no worker",
            fix=f"Start some with dask worker {scheduler} --nthreads 1",
        )
    return client


@functools.lru_cache(maxsize=1)
def loaded(source: str) -> Any:
    """Loads a model once a process.

    Args:
        source: Name or folder.

    Returns:
        The model.
    """
    from coldlens.models.load import load_model

    return load_model(source)
