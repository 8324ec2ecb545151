"""Where the end-to-end tests run."""

from __future__ import annotations

import sys

collect_ignore_glob = [] if sys.platform == "linux" else ["test_*.py"]  # processes are watched through pidfd and /proc
