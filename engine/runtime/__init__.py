"""Model cards, and running models with onnxruntime."""
