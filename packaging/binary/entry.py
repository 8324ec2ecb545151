"""What a frozen program runs."""

import sys

from botframework.cli import main

if __name__ == "__main__":
    sys.exit(main())
