"""Settings that hold for every test."""

import hypothesis

hypothesis.settings.register_profile("lacuna", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("lacuna")
