"""Steerings: fitted directions that can be read, applied, combined, saved and loaded."""
