"""What the documents claim, measured: `python -m bench [name …]`."""
