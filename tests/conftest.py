"""Settings of all tests."""

import hypothesis

# How long an example takes says more about the machine's other work than about the code.
hypothesis.settings.register_profile("crishim", deadline=None)
hypothesis.settings.register_profile("check", deadline=None, max_examples=20)  # hack/check: the loop to work in
hypothesis.settings.load_profile("crishim")
