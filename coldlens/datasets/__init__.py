"""Data sets: the demo world, CAA, BiPO, OpinionsQA, AxBench, and a user's own files."""

from coldlens.datasets.load import load_examples
from coldlens.datasets.prompts import load_prompts

__all__ = ["load_examples", "load_prompts"]
