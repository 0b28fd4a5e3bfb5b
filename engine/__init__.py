"""The engine: arrays in, arrays out. No Qt, no desktop."""
