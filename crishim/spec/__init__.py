"""config.json: a list of editors, each adds one subject to the draft. Read build.py first, then inputs.py.

*_checks.py and validate.py refuse what cannot be. A driver (layer 2): imports linux/ and the vocabulary; operations/
imports it.
"""
