"""Work in batches of one shape, whose results come out in the order in which the work came in.

```python
for batch in batches_by_shape(images, np.shape, batch_size=8, most_waiting=64): ...
list(in_order([(1, "b"), (0, "a")]))  # ["a", "b"]
for image in in_threads(read_image, paths, threads=4): ...
```
"""

import collections
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def batches_by_shape(
    items: Iterable[Item],
    shape_of: Callable[[Item], Hashable],
    *,
    batch_size: int,
    most_waiting: int,
) -> Iterator[list[tuple[int, Item]]]:
    """Gathers what may go through a network together.

    Args:
        items: any number.
        shape_of: items of equal shapes share a batch.
        batch_size: items of a full batch.
        most_waiting: an item goes in a batch that is not full before so many others have come
            behind it.

    Yields:
        Batches of at least one item, each with its position among ``items``.
    """
    waiting: dict[Hashable, list[tuple[int, Item]]] = {}
    for position, item in enumerate(items):
        shape = shape_of(item)
        batch = waiting.setdefault(shape, [])
        batch.append((position, item))
        if len(batch) == batch_size:
            yield waiting.pop(shape)
        # A shape enters the dictionary with its first item, so that the oldest stands first.
        elif position - next(iter(waiting.values()))[0][0] >= most_waiting:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def in_order(numbered: Iterable[tuple[int, Result]]) -> Iterator[Result]:
    """Results by their position, each as soon as all before it are there.

    Args:
        numbered: positions, each of 0 .. n - 1 once, and results.
    """
    early: dict[int, Result] = {}
    position = 0
    for number, result in numbered:
        early[number] = result
        while position in early:
            yield early.pop(position)
            position += 1


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """``map(function, items)`` by several threads, a few items ahead of what is asked for.

    Args:
        function: must be safe to call from several threads.
        items: are taken in the calling thread, as there is room for them.
        threads: that work; at most four times as many items are on their way.

    Yields:
        Results in the order of the items.

    Raises:
        Exception: what the function raises, when its turn comes.
    """
    pending = collections.deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 4 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
