"""Other libraries, measured in an environment of their own because their pins differ from ours."""
