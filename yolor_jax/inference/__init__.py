"""Any image in, boxes in its own pixels out."""
