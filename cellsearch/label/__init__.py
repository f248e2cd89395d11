"""Labels that exist and labels to come: which are probably wrong, and which cells to label next.

``confident`` and ``choose`` take arrays; ``issues`` and ``suggest`` read runs and cards. Nothing
here changes a label.
"""
