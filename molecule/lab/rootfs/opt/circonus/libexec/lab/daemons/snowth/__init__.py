"""snowth, the store: topology, data, journals, gossip, rebalance, sweep, reconstitute. A stand-in, not vendor code."""
