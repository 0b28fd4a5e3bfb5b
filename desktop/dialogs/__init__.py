"""The dialogs. Each has a class method that shows it and returns the answer as data."""
