"""Speed and memory of a model on this machine, and of its peers in the same run: behind `auricle bench`."""
