"""A table for the terminal: columns as wide as their widest cell.

```python
print(text_table([("", "trained", "folded"), ("parameters", "1,234", "1,200")]))
```
"""

from collections.abc import Collection, Sequence


def text_table(rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> str:
    """Aligns the cells of all rows, two spaces between the columns.

    Args:
        rows: of equally many cells; the first may be a heading.
        left: numbers of the columns that are aligned to the left; the others are to the right.

    Returns:
        One line a row, without spaces at its end.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
