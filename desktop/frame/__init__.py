"""The main window: commands, bars, messages, open photographs in tabs."""
