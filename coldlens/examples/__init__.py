"""Examples, their tokens, batches of them, and positions in them."""
