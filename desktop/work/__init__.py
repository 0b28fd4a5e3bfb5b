"""What is to be done, as descriptions, what does it, and the threads it runs on."""
