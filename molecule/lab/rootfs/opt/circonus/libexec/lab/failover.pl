#!/bin/sh
# STAND-IN of the vendor's failover.pl (the real one is Perl): makes the local site's message queue the active one.
# Exit codes: 0 done or already so, 1 refused (this database is a standby) or not possible, 99 usage.
PYTHONPATH=/opt/circonus/libexec/lab exec /usr/bin/python3 -sB -m hooper.failover "$@"
