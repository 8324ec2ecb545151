"""botframework: a local code model daemon that editors start by themselves."""

__version__ = "0.1.0"
