"""The manager: which model serves a request, whether its worker lives, and what the heartbeat says."""
