"""Networks as files for other runtimes, and the proof that they find the same boxes."""

SUFFIXES = {"onnx": ".onnx", "stablehlo": ".zip", "savedmodel": ".savedmodel"}
"""The ending of a file by the name of its format; of the last, a folder."""
