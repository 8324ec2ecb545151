"""What daemon and worker say to each other, and the link that carries it."""
