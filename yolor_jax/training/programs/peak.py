"""What an accelerator can do at its best, by its data sheet: the denominator of MFU.

```python
peak_flops("TPU v5 lite", bfloat16=True)    # 1.97e14
```
"""

# Dense bfloat16 products, FLOPs per second of one device as JAX counts devices.
_BFLOAT16 = {
    "TPU v2": 22.5e12,
    "TPU v3": 61.5e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5p": 459e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA L4": 121e12,
}


def peak_flops(kind: str, *, bfloat16: bool) -> float | None:
    """FLOPs per second of one device.

    Args:
        kind: as ``jax.Device.device_kind`` has it.
        bfloat16: whether the activations are; of float32 no data sheet gives what XLA uses.

    Returns:
        None where it is not known, as of a CPU.
    """
    if not bfloat16:
        return None
    names = [name for name in _BFLOAT16 if kind.startswith(name)]
    return _BFLOAT16[max(names, key=len)] if names else None
