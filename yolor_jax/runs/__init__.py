"""What a run is: its recipe, its programs, its training and evaluation; values in, values out."""
