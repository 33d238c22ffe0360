"""Every equivalence behind COLD-Steer, each beside a case that must break it.

`python -m analyses.unified_perspective` takes half a minute on one core.
"""

from analyses.script import script
from coldlens.figures.unified_perspective import UnifiedPerspective

if __name__ == "__main__":
    script(UnifiedPerspective)
