"""Measure: scores, classical methods to compare with, test protocols, and the reports made of them."""
