"""`verify_equivalences`: the identities behind COLD-Steer, each beside a case that must break it.

One file a family of checks, each a function from a `Setting` to rows of the table.
"""
