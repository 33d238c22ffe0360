"""coldlens compares steering directions with the exact one-step displacement of fine-tuning."""
