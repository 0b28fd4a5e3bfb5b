"""The docked panels, one module each."""
