"""The lab: two sites of the platform in systemd containers on one machine (see docs/lab.md)."""


class LabError(Exception):
    """Something a person can act on: the message is one line, and the only thing printed."""
