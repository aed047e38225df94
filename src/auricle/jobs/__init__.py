"""What long work in a folder needs: locks, files that are whole or not there, optional packages, Ray."""
