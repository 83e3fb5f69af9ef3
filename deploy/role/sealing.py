"""Where core's sealing keys come from, as settings say: AWS KMS if they name a key there, else the key file."""

from dataclasses import dataclass

from bfactors.ports import KeyCustody
from bfactors.settings import Settings
from deploy.role.custody import SealingKeyFile
from gateways.ca.aws_session import AwsClients, AwsSettings
from gateways.kms import KmsCustody


@dataclass(frozen=True, slots=True)
class Sealing:
    """Opened and closed on the I/O lane."""

    custody: KeyCustody
    clients: AwsClients | None = None

    @classmethod
    async def open(cls, settings: Settings) -> "Sealing":
        """Raises SettingsError for a key file that cannot be used; KMS is asked only when there is something to seal."""
        if not settings.secret_kms_key_arns:
            return cls(SealingKeyFile.load(settings.secret_key_file))
        newest, *earlier = settings.secret_kms_key_arns
        # KMS's usual endpoint: `aws_endpoint_url` is that of the private CA, or of its stand-in.
        clients = AwsClients(
            AwsSettings(
                region=settings.aws_region,
                role_arn=settings.aws_role_arn or None,
                access_key_id=settings.aws_access_key_id or None,
                secret_access_key=settings.aws_secret_access_key or None,
            )
        )
        return cls(KmsCustody(await clients.open("kms"), newest, tuple(earlier)), clients)

    async def close(self) -> None:
        """Close the way to KMS, if one was opened."""
        if self.clients is not None:
            await self.clients.close()
