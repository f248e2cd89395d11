"""One file per format that cells are written in; a line of ``registry.WRITERS`` names each."""
