"""Log-in, the change of a password, and log-out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from starlette.responses import Response

from bfedrec.web.accounts import AccountError
from bfedrec.web.pages import plain
from bfedrec.web.portal.visits import Visit, go

if TYPE_CHECKING:
    from bfedrec.web.portal.state import Portal

WRONG = "Merchant and password do not match."
TOO_MANY = "Too many attempts. Please wait {minutes} and try again."


def show_login(visit: Visit) -> Response:
    """The page to log in on."""
    if visit.merchant is not None:
        return go("/home")
    return _login_page(visit)


def log_in(visit: Visit) -> Response:
    """Begin a session for the right password.

    A merchant that does not exist is named as such (the report's "fault checker"): the merchants'
    names are on this page anyway. All else gets the same words after the same work.
    """
    portal = visit.portal
    name, password = visit.text("merchant").strip().lower(), visit.text("password")
    address = visit.request.client.host if visit.request.client else ""
    keys = ((portal.by_pair, (name, address)), (portal.by_name, name), (portal.by_address, address))
    wait = max(limit.wait(key) for limit, key in keys)
    if wait:
        minutes = math.ceil(wait / 60)
        told = TOO_MANY.format(minutes=f"{minutes} minute{'s' * (minutes > 1)}")
        answer = _login_page(visit, told, name, 429)
        answer.headers["Retry-After"] = str(math.ceil(wait))
        return answer
    # Before the password is looked at, so that tries at once count each.
    for limit, key in keys:
        limit.note(key)
    account = portal.accounts.check(name, password)
    if name not in portal.merchants:
        told = f"There is no merchant “{plain(name, 40)}”." if name else "Please name a merchant."
        return _login_page(visit, told, name, 403)
    if account is None:
        return _login_page(visit, WRONG, name, 403)
    portal.by_pair.forget((name, address))
    return _begun(visit.portal, name, account.mark, "/password" if account.one_time else "/home")


def show_password(visit: Visit) -> Response:
    """The page to change one's password on."""
    return _password_page(visit)


def change_password(visit: Visit) -> Response:
    """Set a new password, end all sessions of the merchant, and begin another one."""
    new = visit.text("new")
    key = (visit.name, "change")
    if visit.portal.by_pair.wait(key):
        return _password_page(visit, "Too many attempts. Please wait some minutes.", 429)
    if new != visit.text("again"):
        return _password_page(visit, "The new password and its repetition differ.", 422)
    visit.portal.by_pair.note(key)
    try:
        account = visit.portal.accounts.change(visit.name, visit.text("old"), new)
    except AccountError as error:
        told = str(error)
        return _password_page(visit, f"{told[0].upper()}{told[1:]}.", 422)
    visit.portal.by_pair.forget(key)
    visit.portal.sessions.end_all(visit.name)
    return _begun(visit.portal, visit.name, account.mark, "/home")


def log_out(visit: Visit) -> Response:
    """End the session."""
    visit.portal.sessions.end(visit.request.cookies.get(visit.portal.cookie, ""))
    answer = go("/login")
    answer.delete_cookie(visit.portal.cookie, **visit.portal.cookie_settings)
    answer.headers["Clear-Site-Data"] = '"storage"'
    return answer


def _begun(portal: Portal, name: str, mark: str, path: str) -> Response:
    """A redirection with the cookie of a new session; whatever cookie came is void."""
    answer = go(path)
    answer.set_cookie(portal.cookie, portal.sessions.begin(name, mark), **portal.cookie_settings)
    return answer


def _login_page(visit: Visit, told: str = "", name: str = "", status: int = 200) -> Response:
    names = sorted(visit.portal.merchants)
    values = {"told": told, "names": names, "name": plain(name, 64)}
    return visit.page("login.html", values, status)


def _password_page(visit: Visit, told: str = "", status: int = 200) -> Response:
    account = visit.portal.accounts.all().get(visit.name)
    one_time = account is not None and account.one_time
    return visit.page("password.html", {"told": told, "one_time": one_time}, status)
