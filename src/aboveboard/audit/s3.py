"""Tiles in S3-compatible object storage: every object is created once, under a condition, and may be locked.

`If-None-Match: *` makes the store refuse to overwrite a tile; where one is there already, its content is compared.
The checkpoint is replaced with `If-Match`, so that of two publishers that should not both be running one loses.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from aboveboard.clock import Clock, system_clock
from aboveboard.errors import Conflict, Misuse, NotFound, NotVerified, StorageFailed

_PARALLEL = 16
_THERE_ALREADY = {"PreconditionFailed", "412"}
_GONE = {"NoSuchKey", "404", "NotFound"}


class S3Storage:
    """A bucket, and a prefix in it; `client` is a boto3 S3 client.

    With `lock_days`, full tiles and bundles are put under object lock in compliance mode for that long: not even the
    account's owner can then delete them (the bucket must have been made with object lock).
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        prefix: str = "",
        *,
        lock_days: int | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._lock_days = lock_days
        self._clock = clock
        self._checkpoint_tag: str | None = None

    @classmethod
    def connect(
        cls,
        bucket: str,
        prefix: str = "",
        *,
        region: str | None = None,
        endpoint: str | None = None,
        lock_days: int | None = None,
    ) -> S3Storage:
        """Connect with the credentials of the environment. Raises `Misuse` without the extra `aws`."""
        try:
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise Misuse("S3 needs the package boto3", hint="pip install 'aboveboard[aws]'") from error
        config = Config(max_pool_connections=_PARALLEL, retries={"mode": "standard", "max_attempts": 5})
        try:
            client = boto3.client("s3", region_name=region, endpoint_url=endpoint, config=config)
        except (BotoCoreError, ValueError) as error:
            raise Misuse(
                f"S3 cannot be set up: {type(error).__name__}", hint="check region, endpoint and the AWS settings"
            ) from error
        return cls(client, bucket, prefix, lock_days=lock_days)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def put(self, files: Mapping[str, bytes]) -> None:
        """Create objects that are not there yet. Raises `NotVerified` where one is there with other content."""
        if not files:
            return
        with ThreadPoolExecutor(min(_PARALLEL, len(files)), thread_name_prefix="audit-s3") as pool:
            for future in [pool.submit(self._create, path, content) for path, content in files.items()]:
                future.result()

    def get(self, path: str) -> bytes:
        """Return an object's content. Raises `NotFound`, `StorageFailed`."""
        return self._get(path)[0]

    def put_checkpoint(self, note: str) -> None:
        """Replace the checkpoint. Raises `Conflict` when another publisher has meanwhile replaced it."""
        if self._checkpoint_tag is None:
            try:
                _, self._checkpoint_tag = self._get("checkpoint")
            except NotFound:
                self._checkpoint_tag = ""
        condition = {"IfMatch": self._checkpoint_tag} if self._checkpoint_tag else {"IfNoneMatch": "*"}
        arguments = {"ContentType": "text/plain; charset=utf-8", "CacheControl": "no-cache", **condition}
        code, answer = self._call(
            self._client.put_object, Key=self._key("checkpoint"), Body=note.encode(), **arguments
        )
        if code in _THERE_ALREADY or code == "ConditionalRequestConflict":
            self._checkpoint_tag = None
            raise Conflict(
                "another process has published a checkpoint to this bucket",
                hint="only the processes of one log publish under one prefix; another log needs another",
            )
        self._expect(code, "checkpoint")
        self._checkpoint_tag = answer["ETag"]

    def _create(self, path: str, content: bytes) -> None:
        partial = ".p/" in path
        arguments: dict[str, Any] = {
            "ContentType": "application/octet-stream",
            "CacheControl": "public, max-age=31536000, immutable",
            "IfNoneMatch": "*",
        }
        if self._lock_days and not partial:
            until: datetime = self._clock() + timedelta(days=self._lock_days)
            arguments |= {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        code, _ = self._call(self._client.put_object, Key=self._key(path), Body=content, **arguments)
        if code in _THERE_ALREADY:
            if self.get(path) != content:
                raise NotVerified(f"{path}: there with other content", hint="run `aboveboard audit fsck`", path=path)
            return
        self._expect(code, path)

    def _get(self, path: str) -> tuple[bytes, str]:
        code, answer = self._call(self._client.get_object, Key=self._key(path))
        if code in _GONE:
            raise NotFound(f"{path} is not in the log's storage", path=path)
        self._expect(code, path)
        try:
            return answer["Body"].read(), answer["ETag"]
        except Exception as error:
            raise StorageFailed(f"S3: {path} was cut off while reading") from error

    def _key(self, path: str) -> str:
        return self._prefix + path

    def _call(self, function: Any, **arguments: Any) -> tuple[str, Any]:
        """Return the error code, empty when all went well, and the answer."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return "", function(Bucket=self._bucket, **arguments)
        except ClientError as error:
            return str(error.response.get("Error", {}).get("Code", "unknown")), None
        except (BotoCoreError, OSError) as error:  # OSError: the file that AWS_WEB_IDENTITY_TOKEN_FILE names
            raise StorageFailed(
                f"S3 cannot be reached: {type(error).__name__}", hint="check network, region and the pod's identity"
            ) from error

    def _expect(self, code: str, path: str) -> None:
        if code:
            raise StorageFailed(f"S3 refuses {path}: {code}", hint="check the bucket, its policy and this role")
