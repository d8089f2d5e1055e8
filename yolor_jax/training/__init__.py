"""From a batch to the next state: optimiser, step, loop, devices, checkpoints."""
