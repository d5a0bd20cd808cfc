"""Files that other programs open: label images, GeoJSON, COCO, run lengths, tables, NIfTI."""
