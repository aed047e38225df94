"""`python -m auricle`: the same as the command `auricle`, for launchers that start modules."""

from auricle.cli.main import main

if __name__ == "__main__":
    main()
