"""What the commands show on a terminal: tables, results, progress."""
