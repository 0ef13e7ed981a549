"""STAND-INS of the hub's scripts."""
