"""A tiny trained language model and the synthetic world it lives in.

`WEIGHTS` is the folder of the model in Hugging Face layout; `coldlens.demo.world` writes the
questions; `python -m coldlens.demo.train` trains the model again.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"

__all__ = ["WEIGHTS"]
