"""Settings of the documentation site: `make docs` builds it, without a network."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from coldlens import __version__  # noqa: E402

project, version, release = "coldlens", __version__, __version__
author = project_copyright = "the coldlens developers"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "rendering"]
exclude_patterns = ["_build", "results", "images"]

# The tutorials are the notebooks with the outputs that are kept beside them.
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # for formulas in sentences that code has written
TUTORIALS = HERE / "tutorials"
for notebook in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
    copied = TUTORIALS / notebook.name
    if not copied.exists() or copied.read_bytes() != notebook.read_bytes():
        TUTORIALS.mkdir(exist_ok=True)
        shutil.copyfile(notebook, copied)

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
default_role = "literal"  # what stands in single backticks in a docstring is code
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"coldlens {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
