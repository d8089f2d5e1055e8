"""One page from what runs left: numbers, curves, charts, pictures, implicit knowledge."""
