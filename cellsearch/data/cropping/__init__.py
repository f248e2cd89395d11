"""Cells cut out of whole images by label images, as segmentation programmes write them."""
