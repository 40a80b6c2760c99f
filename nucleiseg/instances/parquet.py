"""Measurements as a Parquet file."""

from __future__ import annotations

import os
from collections.abc import Iterable

from nucleiseg._files import SOFTWARE, atomic_path, check_suffix, escaped
from nucleiseg._optional import import_extra
from nucleiseg.errors import InvalidInputError
from nucleiseg.instances.named_labels import NamedLabels

__all__ = ["write_parquet"]


def write_parquet(path: str | os.PathLike[str], images: Iterable[NamedLabels]) -> None:
    """Write the measurements of images as one Parquet table, as pandas, Polars, DuckDB and R read it.

    Parameters
    ----------
    path : str or path
        Ends in ``.parquet``. An existing file is replaced once the new one is complete.
    images : iterable of NamedLabels
        A row for each nucleus, as `NamedLabels.table` has them, after a column ``image`` with the image's file name
        where the table has none. Columns that an image lacks stay empty.

    Raises
    ------
    InvalidInputError
        If there is no image, or the path has another suffix.
    MissingPackageError
        If pyarrow is not installed.

    Examples
    --------
    >>> import pytest; _ = pytest.importorskip("pyarrow")
    >>> import pandas as pd, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_parquet(f"{folder}/nuclei.parquet", [NamedLabels("a", [[0, 7]], "a.tif")])
    ...     pd.read_parquet(f"{folder}/nuclei.parquet")[["image", "label", "area"]]
       image  label  area
    0  a.tif      7     1
    """
    check_suffix(path, ".parquet")
    arrow = import_extra("pyarrow", "parquet", "writing Parquet")
    parquet = import_extra("pyarrow.parquet", "parquet", "writing Parquet")

    import pandas as pd

    tables = []
    for image in images:
        table = image.table()
        tables.append(table if "image" in table else table.assign(image=escaped(image.file_name)))
    if not tables:
        raise InvalidInputError("a Parquet file needs at least one image, got none; check the input")
    filled = [table for table in tables if len(table)]
    merged = pd.concat(filled, ignore_index=True) if filled else tables[0]
    merged = merged[["image", *(name for name in merged if name != "image")]]
    content = arrow.Table.from_pandas(merged.astype({"image": str}), preserve_index=False)
    content = content.replace_schema_metadata({**(content.schema.metadata or {}), b"software": SOFTWARE.encode()})
    with atomic_path(path) as temporary:
        parquet.write_table(content, temporary, compression="zstd")
