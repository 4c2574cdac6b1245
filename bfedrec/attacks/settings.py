"""The entries of `clients.malicious`: an attack, its share of the clients and its rounds."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from bfedrec.attacks.attack import ATTACKS, COMMON, Attack
from bfedrec.section import Section, Tree, share_of
from consensus.registry import import_parts

import_parts("bfedrec.attacks.kinds")


class MaliciousClients(Section):
    """A share of the clients that follow one attack for a time.

    In a config: the five below and, beside them, the attack's own options.
    """

    attack: str
    share: float | str
    """The share of all clients, as 0.2 or 1/5; a draw of its own chooses them."""
    homes: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Servers, by index: the share is then of the clients whose home servers they are
    (`consensus.ledger.use.home`). Not written where there are none."""
    since: int = Field(default=1, ge=1, alias="from")
    """The first round of the attack."""
    until: int | None = Field(default=None, ge=1)
    """The last one; None for the run's."""
    plan: Attack
    """The attack with its options."""

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, value: Any, handler: Any) -> Any:
        """Tell the attack's own options from the rest, and report an error in words."""
        if isinstance(value, cls):
            return value
        name = value.get("attack") if isinstance(value, dict) else None
        if not isinstance(name, str) or name not in ATTACKS:
            near = ATTACKS.nearest(name) if isinstance(name, str) else ""
            raise ValueError(f"attack: {name!r} is not one of {', '.join(ATTACKS)}{near}")
        own = {key: option for key, option in value.items() if key not in COMMON}
        unknown = own.keys() - ATTACKS[name].model_fields
        if unknown:
            known = ", ".join([*COMMON, *ATTACKS[name].model_fields])
            raise ValueError(f"{name}: unknown key {min(unknown)!r}; known there: {known}")
        try:
            share_of(value.get("share", "none"), 0)
            plan = ATTACKS[name].model_validate_json(json.dumps(own), strict=True)
            common = {key: value[key] for key in COMMON if key in value}
            if "homes" in common:
                common["homes"] = _listed(common["homes"])
            found = handler(common | {"plan": plan})
        except ValidationError as error:
            details = error.errors(include_url=False)[0]
            key = ".".join(map(str, details["loc"]))
            raise ValueError(f"{name}: {key}: {details['msg'].lower()}") from None
        except TypeError:
            raise ValueError(f"{name}: homes: expected a list of servers, as [0, 3]") from None
        except PydanticCustomError:
            raise ValueError(f"{name}: share: expected a share as 0.2 or 1/5") from None
        if found.until is not None and found.until < found.since:
            raise ValueError(f"{name}: until: expected {found.since} (its `from`) or more")
        return found

    @model_serializer(mode="plain")
    def _write(self) -> Tree:
        """The group in the form of a config, every option written out."""
        common = {
            "attack": self.attack,
            "share": self.share,
            "from": self.since,
            "until": self.until,
        }
        homes: Tree = {"homes": list(self.homes)} if self.homes else {}
        return common | homes | self.plan.model_dump(mode="json")


def _listed(value: Any) -> tuple[Any, ...]:
    """A list's values, or a tuple's. Raises TypeError for anything else."""
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(value)
