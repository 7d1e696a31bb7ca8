"""The CNI client: finds the network configuration and runs its plugins.

format.py has the JSON of specification 1.1, chain.py runs ADD, CHECK and DEL, network.py is what operations call. A
driver (layer 2): imports linux/ and the vocabulary; operations/ and node.py import it.
"""
