"""The `privacy` section of an experiment."""

from __future__ import annotations

from pydantic import Field

from bfedrec.privacy.attack_settings import AttackSettings
from bfedrec.section import Section


class PrivacySettings(Section):
    """The protection of the clients' updates, and attacks on them."""

    attacks: AttackSettings = Field(default_factory=AttackSettings)
