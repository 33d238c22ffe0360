"""`coldlens sweep`: what each method gains and costs on held-out questions."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coldlens.cli.inputs import Source, say
from coldlens.datasets import load_examples
from coldlens.errors import ArgumentError
from coldlens.models.load import load_model
from coldlens.plotting.sweep import BESIDE
from coldlens.sweep import PRESETS, Splits, SweepResult, demo_facts, load_splits, sweep
from coldlens.sweep.choose import OBJECTIVES, check_budget, check_objective, objective


@dataclass(frozen=True)
class Sweep(Source):
    """Compare methods on held-out questions, with layer and eta chosen on validation questions.

    An interrupted sweep goes on when it is started again with the same options.

    Attributes:
        examples: Data sets, such as demo/sycophancy caa/refusal; "demo" for its seven behaviours.
        out: Folder for measurements, tables and figure.
        preset: "quick" (one seed), "paper" (three seeds, paired and positive-only losses) or
            "curve" (N = 2 to 200, three seeds).
        methods: Methods by name, InContext included; by default those of the preset.
        layers: 0-based blocks; all by default.
        etas: Lengths of the displacement relative to the residual stream.
        sizes: How many examples are drawn for training; by default as the preset says.
        seeds: Seeds of the draws; by default as the preset says.
        validation: How many questions layer and eta are chosen by.
        test: How many questions the choice is reported on.
        capability: A data set of unrelated questions; by default facts and sums on the bundled
            model, else none.
        budget: Accuracy on the unrelated questions that may be lost.
        by: What is chosen by, such as probability or correct.
        jobs: Processes, each with a model; by default all cores for the bundled model, else one.
        backend: "dask" for the workers of a scheduler.
        scheduler: Address of the Dask scheduler.
        batch_size: Questions a batch.
    """

    examples: tuple[str, ...] = ("demo",)
    out: Path = Path("out/sweep")
    preset: Literal["quick", "paper", "curve"] = "quick"
    methods: tuple[str, ...] | None = None
    layers: tuple[int, ...] | None = None
    etas: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    sizes: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None
    validation: int = 40
    test: int = 100
    capability: str | None = None
    budget: float = 0.05
    by: str | None = None
    jobs: int | None = None
    backend: Literal["local", "dask"] = "local"
    scheduler: str | None = None
    batch_size: int = 64

    def run(self) -> int:
        """Returns 0 after sweeping, writing tables and figure, and printing the main table."""
        started = time.perf_counter()
        given = {"methods": self.methods, "sizes": self.sizes, "seeds": self.seeds}
        changed = {name: value for name, value in given.items() if value is not None}
        splits = self._splits()
        check_budget(self.budget)
        check_objective(load_model(self.model), splits, self.by)
        result = sweep(
            self.model,
            splits,
            layers=self.layers,
            etas=self.etas,
            folder=self.out,
            jobs=self._jobs(),
            backend=self.backend,
            scheduler=self.scheduler,
            batch_size=self.batch_size,
            capability=self._unrelated(),
            progress=True,
            **(PRESETS[self.preset] | changed),
        )
        self._write(result)
        say(_text(result, self.budget, self.by))
        say(f"Tables and sweep.png in {self.out} ({time.perf_counter() - started:.1f} s)")
        return 0

    def _splits(self) -> dict[str, Splits]:
        from coldlens.demo.world import BEHAVIOURS

        names: list[str] = []
        for name in self.examples:
            names += [f"demo/{one}" for one in BEHAVIOURS] if name == "demo" else [name]
        if len(set(names)) < len(names):
            raise ArgumentError(
                expected="each data set once",
                found=" ".join(names),
                fix="Name each once",
            )
        short = [_short(name) for name in names]
        keys = short if len(set(short)) == len(names) else names
        return {
            key: load_splits(
                name,
                validation=self.validation,
                test=self.test,
                prompt_format=self.prompt_format,
                folder=self.data,
            )
            for key, name in zip(keys, names, strict=True)
        }

    def _unrelated(self) -> Any:
        if self.capability is not None:
            return load_examples(self.capability, "test", folder=self.data)
        return demo_facts(120) if self.model == "demo" else None

    def _jobs(self) -> int:
        if self.jobs is not None or self.model != "demo" or self.backend == "dask":
            return 1 if self.jobs is None else self.jobs
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1

    def _write(self, result: SweepResult) -> None:
        budget, by = self.budget, self.by
        result.main_table(budget=budget, by=by).to_csv(self.out / "main_table.csv")
        result.choices(budget, by).to_csv(self.out / "choices.csv", index=False)
        result.sample_efficiency(budget, by).to_csv(self.out / "sample_efficiency.csv", index=False)
        result.plot(budget=budget, by=by).savefig(self.out / "sweep.png")


def _short(name: str) -> str:
    path = Path(name)
    return path.stem if path.suffix else name.split("/", 1)[-1]


def _text(result: SweepResult, budget: float, by: str | None) -> str:
    table = result.main_table(budget=budget, by=by)
    guarded = any(name.startswith("capability") for name in result.table.split.unique())
    shown = table.drop(columns=["low", "high"] + ([] if guarded else ["capability_change"]))
    short = {name: f"{name[:11]}…" if len(name) > 12 else name for name in shown}
    short = {name: name if name in BESIDE else short[name] for name in shown}
    lines = shown.rename(columns=short).to_string(float_format="{:.3f}".format, na_rep="–")
    measured = next(iter(set(objective(result.table, by).values())))
    better = "higher" if OBJECTIVES[measured] > 0 else "lower"
    within = f", at most {budget:.0%} of capability lost on validation" if guarded else ""
    return (
        f"\n{measured.capitalize()} ({better} is better) on test questions, "
        f"N = {max(result.about['sizes'])}; layer and eta chosen on "
        f"validation questions{within}; rank 1 is best:\n\n{lines}\n"
    )
