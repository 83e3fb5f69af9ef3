"""What an assumed role may ask of the peer: the least-privilege shape of facts sheet 3.6, one role per purpose."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """A grant. Empty `realms` or `templates` mean no restriction of that kind; `operations` is exact.

    `name` is the last part of the role's ARN, `realms` names realms of the peer, `templates` names such as
    `EndEntityClientAuthCertificate`.
    """

    name: str
    operations: frozenset[str]
    realms: frozenset[str] = frozenset()
    templates: frozenset[str] = frozenset()

    def denial(self, operation: str, realm: str | None, template: str | None) -> str | None:
        """The reason this call is denied, or None when it is granted."""
        if operation not in self.operations:
            return f"role {self.name} is not authorized to perform acm-pca:{operation}"
        if self.realms and realm is not None and realm not in self.realms:
            return f"role {self.name} is not authorized to use a certificate authority of {realm}"
        if self.templates and template is not None and template not in self.templates:
            return f"role {self.name} is denied template {template} by condition acm-pca:TemplateArn"
        return None
