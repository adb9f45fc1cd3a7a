"""Imports the SDK, which reads the command line of whatever program imports it as if it were a server's."""

import sys

arguments, sys.argv = sys.argv, sys.argv[:1]
try:
    import kserve  # noqa: F401
finally:
    sys.argv = arguments
