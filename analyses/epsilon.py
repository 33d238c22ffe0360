"""The error of finite differences in parameter space against their step, in three precisions.

`python -m analyses.epsilon` takes seconds on one core.
"""

from analyses.script import script
from coldlens.figures.epsilon import Epsilon

if __name__ == "__main__":
    script(Epsilon)
