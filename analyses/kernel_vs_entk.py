"""How far kernel blocks are from the identity, and what replacing them by it costs.

`python -m analyses.kernel_vs_entk` takes seconds on one core.
"""

from analyses.script import script
from coldlens.figures.kernel_vs_entk import KernelVsEntk

if __name__ == "__main__":
    script(KernelVsEntk)
