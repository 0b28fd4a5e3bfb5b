"""Dialogs: each has one class method that asks and returns data."""
