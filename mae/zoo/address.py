"""Which addresses may be asked: HTTPS alone, wherever a server leads."""

import ipaddress
from http.client import HTTPMessage, HTTPResponse
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from mae.utils.errors import DownloadError


def check_address(url: str) -> None:
    """Allow HTTPS, and on this machine plain HTTP.

    Raises:
        DownloadError: any other scheme, or no file is named.
    """
    parts = urlsplit(url)
    if not parts.path.rpartition('/')[2]:
        raise DownloadError(f'{url} names no file')
    if parts.scheme == 'https' and parts.hostname:
        return
    if parts.scheme == 'http' and _is_this_machine(parts.hostname or ''):
        return
    raise DownloadError(f'refused: {url} is not https://, which alone shows who answers')


def open_address(request: Request, timeout: float) -> HTTPResponse:
    """The answer to a request, after redirects.

    Raises:
        DownloadError: a redirect leads to another scheme.
        OSError: there is no answer, or an error.
    """
    check_address(request.full_url)
    answer: HTTPResponse = build_opener(_Redirects).open(request, timeout=timeout)
    return answer


class _Redirects(HTTPRedirectHandler):
    """Follows redirects as long as they stay on HTTPS, or lead to it."""

    def http_error_302(
        self, req: Request, fp: Any, code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        target = urljoin(req.full_url, headers.get('Location', ''))
        try:
            check_address(target)
            if urlsplit(req.full_url).scheme == 'https' != urlsplit(target).scheme:
                raise DownloadError(f'refused: {target} is not https://')
        except DownloadError as error:
            raise DownloadError(f'{req.full_url} leads elsewhere, {error}') from None
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
