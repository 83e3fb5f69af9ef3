"""What the configured CAs are: asked once at start, and told to the ledger as commands."""

from collections.abc import Mapping
from dataclasses import dataclass

from bfactors.ca import AuthorityDescription, CaError
from bfactors.command import RegisterAuthority
from bfactors.ports import CertificateAuthority


@dataclass(frozen=True, kw_only=True)
class Discovered:
    """A purpose's issuing CA. `command` makes it known; `root_pem` belongs into the purpose's first bundle."""

    command: RegisterAuthority
    authority: AuthorityDescription

    @property
    def root_pem(self) -> str | None:
        """The root above it, when the CA hands it out."""
        return self.authority.root_pem


@dataclass(frozen=True, kw_only=True)
class Undiscovered:
    """A purpose whose CA did not say what it is; `error` tells an operator why."""

    purpose: str
    authority_arn: str
    error: CaError


async def discover(
    authority: CertificateAuthority, arns: Mapping[str, str]
) -> tuple[list[Discovered], list[Undiscovered]]:
    """Ask about the issuing CA of every purpose in `arns`; one that fails does not hold up the others."""
    found: list[Discovered] = []
    failed: list[Undiscovered] = []
    for purpose, arn in arns.items():
        try:
            description = await authority.describe(arn)
        except CaError as error:
            failed.append(Undiscovered(purpose=purpose, authority_arn=arn, error=error))
        else:
            found.append(Discovered(command=register_command(purpose, description), authority=description))
    return found, failed


def register_command(purpose: str, authority: AuthorityDescription) -> RegisterAuthority:
    """The command for the fleet partition; said again, it changes nothing."""
    return RegisterAuthority(
        purpose=purpose,
        authority_arn=authority.arn,
        certificate_pem=authority.certificate_pem,
        chain_pem=authority.issuers_pem,
        signing_algorithm=authority.signing_algorithm,
        root_pem=authority.root_pem or "",
    )
