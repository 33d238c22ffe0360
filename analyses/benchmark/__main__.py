"""`python -m analyses.benchmark`."""

from analyses.benchmark import Benchmark
from analyses.script import script

if __name__ == "__main__":
    script(Benchmark)
