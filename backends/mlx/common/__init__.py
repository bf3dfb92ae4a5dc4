"""What every other package may use and none of them is about: files, dtypes, arguments."""
