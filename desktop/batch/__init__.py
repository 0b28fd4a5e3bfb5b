"""The window of batches: many scans by one recipe, in a table that survives the program."""
