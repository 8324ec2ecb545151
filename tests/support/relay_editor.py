"""An editor on a string: starts a daemon, passes its own standard input on to it, and is there to be killed.

Usage: ``relay_editor.py MODE COMMAND...``. The daemon writes straight to this process's standard output, which stays
open when this process is killed: so a broken pipe cannot be what ends the daemon. Modes: ``plain``; ``leak`` (a sibling
holds the write end of the daemon's standard input).
"""

from __future__ import annotations

import os
import subprocess
import sys

mode, *command = sys.argv[1:]
read_end, write_end = os.pipe()
daemon = subprocess.Popen(command, stdin=read_end)
os.close(read_end)
if mode == "leak":
    nothing = subprocess.DEVNULL
    subprocess.Popen(["sleep", "60"], pass_fds=[write_end], stdin=nothing, stdout=nothing, stderr=nothing)
while data := os.read(0, 65_536):
    while data:
        data = data[os.write(write_end, data) :]
os.close(write_end)
sys.exit(daemon.wait())
