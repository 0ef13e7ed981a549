"""STAND-IN for Hooper: documented interface, own code. See docs/lab_standins.md."""
