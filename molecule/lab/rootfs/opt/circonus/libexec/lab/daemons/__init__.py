"""STAND-INS for Circonus daemons: real database and queue connections, documented ports, own code."""
