"""What a network is worth: COCO's numbers, and those of the other tasks."""
