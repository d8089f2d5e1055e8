"""What `yolor bench` measures: each part of the work, in turn with what it is compared with."""
