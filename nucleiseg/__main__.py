"""``python -m nucleiseg``: the command line, also where its script is not on the path."""

import sys

from nucleiseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
