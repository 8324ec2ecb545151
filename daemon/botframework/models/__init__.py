"""Files and hardware: what a model is and what this machine offers."""
