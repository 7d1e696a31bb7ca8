"""Settings of all tests."""

import hypothesis

# How long an example takes says more about the machine's other work than about the code.
hypothesis.settings.register_profile("crishim", deadline=None)
hypothesis.settings.load_profile("crishim")
