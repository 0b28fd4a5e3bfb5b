"""What the pointer does on the picture. Tools know the document and image coordinates, and no Qt."""
