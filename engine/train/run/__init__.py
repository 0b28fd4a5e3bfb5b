"""Run: losses, systems, the training loop, and the export of trained weights."""
