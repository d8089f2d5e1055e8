"""A local page to try a network on: thresholds that move, implicit knowledge on and off."""
