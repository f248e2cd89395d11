"""Statistics: arrays in, values out; no files, no networks."""
