"""jezebel, the Java check helper of noitd: listens on 8083 and knows no check; it ends with noitd."""

import os
import sys

from daemons import net

PORT = 8083


def main():
    print("LAB STAND-IN of jezebel (not vendor code)", flush=True)
    body = b'<?xml version="1.0"?>\n<check><state>bad</state><status>lab stand-in: no checks</status></check>\n'
    net.http_listener(PORT, lambda _request: (200, body, "text/xml"))
    while os.read(0, 4096):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
