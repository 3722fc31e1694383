"""The key-encryption key in AWS KMS: it never leaves KMS, and CloudTrail logs every use."""

from __future__ import annotations

from typing import Any

from aboveboard.errors import Misuse, NotAuthorised, NotVerified, StorageFailed

_CONTEXT = {"purpose": "aboveboard-audit-vault"}
"""The encryption context: KMS decrypts only with the same one, and shows it in its log."""


class KmsKey:
    """A KMS key, by its id or ARN; `client` is a boto3 KMS client."""

    provider = "aws-kms"

    def __init__(self, client: Any, key_id: str) -> None:
        self._client = client
        self.reference = key_id

    @classmethod
    def connect(cls, key_id: str, *, region: str | None = None, endpoint: str | None = None) -> KmsKey:
        """Connect with the credentials of the environment. Raises `Misuse` without the extra `aws`."""
        try:
            import boto3
            from botocore.exceptions import BotoCoreError
        except ImportError as error:
            raise Misuse("AWS KMS needs the package boto3", hint="pip install 'aboveboard[aws]'") from error
        try:
            client = boto3.client("kms", region_name=region, endpoint_url=endpoint)
        except (BotoCoreError, ValueError) as error:
            raise Misuse(
                f"AWS KMS cannot be set up: {type(error).__name__}",
                hint="set AWS_DEFAULT_REGION, or name the key by its whole ARN",
            ) from error
        return cls(client, key_id)

    def wrap(self, key: bytes) -> bytes:
        """Have KMS encrypt `key`. Raises `StorageFailed`, `NotVerified` when it refuses to, or `NotAuthorised`."""
        answer = self._call(self._client.encrypt, KeyId=self.reference, Plaintext=key, EncryptionContext=_CONTEXT)
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes) -> bytes:
        """Have KMS decrypt what `wrap` returned. Raises what `wrap` raises."""
        answer = self._call(
            self._client.decrypt, KeyId=self.reference, CiphertextBlob=wrapped, EncryptionContext=_CONTEXT
        )
        return bytes(answer["Plaintext"])

    @staticmethod
    def _call(function: Any, **arguments: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return function(**arguments)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            raise NotVerified(
                f"KMS refuses: {code}", hint="check the key's id, its policy and this role's permissions"
            ) from error
        except BotoCoreError as error:
            raise StorageFailed(
                f"KMS cannot be reached: {type(error).__name__}", hint="check network and region"
            ) from error
        except OSError as error:  # the file that AWS_WEB_IDENTITY_TOKEN_FILE names
            raise NotAuthorised(
                f"there is no token to be somebody to AWS with: {error.strerror}",
                hint="see AWS_WEB_IDENTITY_TOKEN_FILE, and whether the platform mounts a token there",
            ) from error
