"""A real VS Code in a real browser: code-server from npm, Debian's Chromium, Playwright at its keyboard."""
