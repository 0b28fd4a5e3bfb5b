"""Jobs: their descriptions, the runners that execute them, and the threads on which they run."""
