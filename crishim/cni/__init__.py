"""The CNI client: finds the network configuration and runs its plugins."""
