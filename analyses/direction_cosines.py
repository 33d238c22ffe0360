"""The directions of every method at every layer, against the exact displacement and each other.

`python -m analyses.direction_cosines` takes seconds on one core.
"""

from analyses.script import script
from coldlens.figures.direction_cosines import DirectionCosines

if __name__ == "__main__":
    script(DirectionCosines)
