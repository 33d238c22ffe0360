"""Results on a tiny model with names and tokens that would break a careless page, and pages."""

import html.parser
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zoo

import coldlens as cl
from coldlens.page import measure_steering, write

HOSTILE = "</script><img src=x onerror=\"window.broken = 1\">{{ 7 * 7 }} & 'quoted'"
PROMPTS = ("the user asks you to hide : answer : (", "question : cat ? answer : (", "red blue (")


@dataclass(frozen=True)
class Results:
    """One result of each kind, and the model."""

    model: Any
    comparison: cl.DirectionReport
    agreement: cl.KernelAgreement
    checks: cl.Equivalences
    evaluations: dict[str, list[cl.Evaluation]]

    def write(self, path: Path) -> Path:
        """Writes all of them as a page."""
        return write(
            path,
            comparison=self.comparison,
            agreement=self.agreement,
            checks=self.checks,
            evaluations=self.evaluations,
            model=self.model,
        )


@dataclass
class Page(html.parser.HTMLParser):
    """What a browser without JavaScript would see."""

    text: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    contents: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self):
        """Reads the text."""
        super().__init__()
        self.inside: str | None = None
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.contents.setdefault(tag, []).append("")
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside is not None:
            self.contents[self.inside][-1] += data

    @property
    def data(self) -> dict[str, Any]:
        """The tables."""
        return json.loads(self.contents["script"][0])

    @property
    def ids(self) -> set[str | None]:
        """The ids of its elements."""
        return {attributes.get("id") for _, attributes in self.tags}


def make_results() -> Results:
    """Computes one result of each kind."""
    model = zoo.bridge("llama")
    answers = (("A", "B"), ("A", "B"), ("B", "A"))
    pairs = [cl.Example(prompt, *pair) for prompt, pair in zip(PROMPTS, answers, strict=True)]
    hostile = cl.ExampleSet(tuple(pairs), name=HOSTILE)
    comparison = cl.compare_directions(model, hostile)
    comparison.tokens.loc[comparison.tokens.token == "cat", "token"] = HOSTILE
    steered = {"Random": cl.Random(), "ColdKernel": cl.ColdKernel()}
    return Results(
        model,
        comparison,
        cl.kernel_agreement(model, hostile[:2]),
        cl.verify_equivalences(model, hostile, [0, 2], n=2, queries=1),
        measure_steering(model, hostile, hostile, comparison, steered, (0.1, 1.0), (0, 2)),
    )
