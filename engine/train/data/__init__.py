"""Data: photographs, scanned damage and archives on disk, and the batches that are drawn from them."""
