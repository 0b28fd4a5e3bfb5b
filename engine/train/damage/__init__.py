"""Damage: shapes of marks, what ages a photograph as a whole, and the table of all degradations. Reads no files."""
