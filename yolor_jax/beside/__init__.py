"""The same network and step in PyTorch, to be measured beside ours; all of it imports torch."""
