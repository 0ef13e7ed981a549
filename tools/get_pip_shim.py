"""Take the place of the get-pip script that ansible-test would download: run pip from a wheel that came from PyPI.

ansible-test looks for ``get_pip_<version>.py`` in its cache before it downloads one; ``tools/test`` puts this file
there under that name, and the wheel into ``wheels/`` beside it. Runs on Python 3.6 and newer.
"""
import glob
import os
import re
import sys


def main():
    """Find the wheel of the version in our own file name and hand the arguments to its pip."""
    script = os.environ["GET_PIP"]
    version = re.search(r"get_pip_(.+)\.py$", script).group(1).replace("_", ".")
    wheels = os.path.join(os.path.dirname(script), "wheels")
    found = glob.glob(os.path.join(wheels, "pip-%s-*.whl" % version))
    if not found:
        sys.exit("expected the wheel of pip %s in %s, found none; remove that folder and run tools/test again"
                 % (version, wheels))
    sys.path.insert(0, found[0])
    from pip._internal.cli.main import main as pip_main

    # Options of get-pip itself; pip does not know them.
    arguments = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]
    sys.exit(pip_main(["install", "--find-links", wheels] + arguments))


if __name__ == "__main__":
    main()
