"""One script a claim: `python -m analyses.NAME --out FOLDER` writes its tables and figure."""
