"""A bucket as Arrow's readers see it: the same server, found by the same environment as the store itself.

Needs pyarrow alone, so that what reads a store for SQL need not load the client that writes it.
"""

from __future__ import annotations

import os
from datetime import timedelta
from functools import lru_cache

from pyarrow import fs  # type: ignore[import-untyped]  # pyarrow ships no types

from gradlaw.errors import StoreError

_TRIES = 6
_OUTAGE_S = 30.0


def arrow_files(location: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds a file, and the file's path in it.

    Args:
        location: ``s3://bucket/key`` or ``gs://bucket/key``, as :meth:`Files.location` gives it.

    Raises:
        StoreError: If the server cannot be found.
    """
    scheme, _, path = location.partition("://")
    if scheme == "gs":
        return _gs(os.environ.get("STORAGE_EMULATOR_HOST")), path
    return _s3(path.partition("/")[0], _endpoint(), _region()), path


def _endpoint() -> str | None:
    """As boto3 has it: the variable of the one service goes before that of all."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


@lru_cache(maxsize=4)
def _gs(emulator: str | None) -> fs.FileSystem:
    limit = timedelta(seconds=_OUTAGE_S)  # else a quarter of an hour
    if not emulator:
        return fs.GcsFileSystem(retry_time_limit=limit)
    scheme, _, host = emulator.rpartition("://")
    return fs.GcsFileSystem(
        anonymous=True,
        scheme=scheme or "http",
        endpoint_override=host.rstrip("/"),
        retry_time_limit=limit,
    )


@lru_cache(maxsize=8)
def _s3(bucket: str, endpoint: str | None, region: str | None) -> fs.FileSystem:
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES)
    if endpoint is not None:
        scheme, _, host = endpoint.rpartition("://")
        return fs.S3FileSystem(
            endpoint_override=host.rstrip("/"),
            scheme=scheme or "https",
            region=region or "us-east-1",
            retry_strategy=retries,
        )
    try:
        # A bucket is read in its own region, whatever the environment names: boto3 is redirected there too.
        return fs.S3FileSystem(region=fs.resolve_s3_region(bucket), retry_strategy=retries)
    except OSError as error:
        msg = f"s3://{bucket}: its region is unknown ({error}); check the bucket's name and the network"
        raise StoreError(msg) from error
