"""The data plane: the process that owns llama.cpp."""
