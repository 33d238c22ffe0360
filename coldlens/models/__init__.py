"""Models: loading, guards, parameters, and forward passes that stop early and leave no trace."""
