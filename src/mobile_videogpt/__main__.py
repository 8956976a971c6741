"""`python -m mobile_videogpt` is the command `mobile-videogpt`."""

import sys

from mobile_videogpt.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
