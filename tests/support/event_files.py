"""Reads TensorBoard's event files back, without TensorFlow."""


def events(folder):
    """All values of the event files of a folder, as (tag, step, value)."""
    from tensorboardX.proto import event_pb2

    found = []
    for path in sorted(folder.iterdir()):
        data, place = path.read_bytes(), 0
        while place < len(data):  # length, its checksum, the record, its checksum
            length = int.from_bytes(data[place : place + 8], "little")
            event = event_pb2.Event.FromString(data[place + 12 : place + 12 + length])
            found += [(value.tag, event.step, value) for value in event.summary.value]
            place += length + 16
    return found
