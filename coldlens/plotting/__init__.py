"""Plots of tables: each takes `ax=None` and returns the Axes, or builds one Figure; none shows."""
