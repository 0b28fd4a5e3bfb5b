"""One open photograph: its document with undo, its task queue, its defects, its autosave."""
