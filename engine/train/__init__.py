"""Training, evaluation and export of the models. The only room with torch."""
