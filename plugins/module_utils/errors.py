# Copyright: circonus.inside contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception tree of the collection.

A message is one line that says what was expected, what was found, where, and what to do.
Modules catch :class:`InsideError` only and hand its text to ``fail_json``.
"""
from __future__ import absolute_import, division, print_function

__metaclass__ = type


class InsideError(Exception):
    """Base class: something the operator can act on. ``details`` is a dict of plain values for the result."""

    def __init__(self, message, **details):
        super(InsideError, self).__init__(" ".join(str(message).split()))
        self.details = details


class Refused(InsideError):
    """A precondition could not be proven; nothing was changed."""


class LockHeld(Refused):
    """Another procedure holds the lock of this platform, or this run has lost it."""


class TimedOut(InsideError):
    """A deadline passed; ``details`` says which condition was still missing."""


class CommandFailed(InsideError):
    """A program of the host answered with an unexpected exit code."""


class BadInput(InsideError):
    """A parameter or a file cannot be used as given."""
