"""What pods and containers use, from cgroups v1 and v2, /proc and rtnetlink.

provider.py is the face; measurements.py are its values. A driver (layer 2): imports linux/ and the vocabulary; cri/ and
node.py import it.
"""
