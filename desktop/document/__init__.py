"""The layered picture being edited: tiles, layers, edits, composition, project files. Knows no Qt."""
