"""``python -m botframework``: the same as the console script."""

from botframework.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
