"""One script a claim: `python -m analyses.NAME` writes tables, `coldlens figures` draws them."""
