"""Programs of JAX as graphs of ONNX: what a graph is made of, a rule for each primitive."""
