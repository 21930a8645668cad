"""What a network does to a download, in words for people."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sftlab.data.remote.files import Unreachable

if TYPE_CHECKING:
    from requests import Response

BUSY = (408, 429, 500, 502, 503, 504)


class Cut(Unreachable):
    """A connection that broke, or an answer that may be another one in a moment."""

    is_passing = True


class NoWay(Cut):
    """There was no connection at all: worth another attempt only where there was one before."""

    is_passing = False


@contextmanager
def sentence(url: str) -> Iterator[None]:
    """Turn what the HTTP client raises into a Cut that says what happened."""
    import requests
    import urllib3

    host = urlsplit(url).netloc
    try:
        yield
    except (requests.exceptions.ConnectTimeout, urllib3.exceptions.ConnectTimeoutError):
        raise NoWay(f"{host} did not answer (timed out)") from None
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
        raise Cut(f"{host} fell silent (timed out)") from None
    except requests.exceptions.SSLError as error:
        raise Unreachable(f"the certificate of {host} was not accepted ({_root(error)})") from None
    except requests.exceptions.ProxyError as error:
        raise NoWay(f"the proxy on the way to {host} gave no answer ({_root(error)})") from None
    except requests.exceptions.ConnectionError as error:
        cause = _root(error)
        if isinstance(cause, socket.gaierror):
            raise NoWay(f"the name {host} is not known here: no network?") from None
        kind = Cut if isinstance(cause, ConnectionResetError) else NoWay
        raise kind(f"no connection to {host} ({_said(cause)})") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        cause = _root(error)
        why = f" ({_said(cause)})" if isinstance(cause, OSError) and cause.strerror else ""
        raise Cut(f"the connection to {host} was cut{why}") from None


def answered(response: Response, url: str, *, expected: int) -> None:
    """Raise Unreachable if this is not the file that was asked for; expected: the status of one that is."""
    host, status = urlsplit(url).netloc, response.status_code
    if status != expected:
        response.close()
        kind = Cut if status in BUSY else Unreachable
        raise kind(f"{host} answers {status} {response.reason} for {url}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        response.close()
        raise Unreachable(f"{host} sent a web page in place of {url}: does this network ask for a login first?")


def _root(error: BaseException) -> BaseException:
    """Return the innermost cause: the HTTP clients wrap it three or four times."""
    inner = [getattr(error, "reason", None), *error.args, error.__cause__, error.__context__]
    deeper = next((e for e in inner if isinstance(e, BaseException)), None)
    return error if deeper is None else _root(deeper)


def _said(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
