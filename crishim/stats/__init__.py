"""Resource usage of pods and containers, from cgroups v1 and v2 and /proc.

provider.py is what cri/ calls; measurements.py has its values. A driver (layer 2): imports linux/ and the vocabulary;
cri/ and node.py import it.
"""
