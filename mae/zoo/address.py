"""Which addresses may be requested, and their parts: HTTPS only, redirects included."""

import ipaddress
import re
from http.client import HTTPMessage, HTTPResponse
from typing import Any
from urllib.parse import ParseResult, parse_qsl, quote, unquote, urljoin, urlparse, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from mae.utils.errors import DownloadError

# What Windows does not allow in a name, and what would move a cursor.
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.I)
_LONGEST = 200  # bytes; file systems take 255, and `.NAME.LICENSE.txt` must fit too
_KEEP = "%/:=&?~+!$,;'@()*[]"  # of an address as it is; a percent sign may belong to a code


def check_address(url: str) -> None:
    """Allow HTTPS, and on this machine plain HTTP.

    Raises:
        DownloadError: any other scheme, or no file is named.
    """
    parts = _parse(url)
    file_name(url)
    if parts.username is not None:
        host = parts.hostname
        raise DownloadError(f'refused: the address of {host} holds a user name; give it without')
    if parts.scheme == 'https' and parts.hostname:
        return
    if parts.scheme == 'http' and _is_this_machine(parts.hostname or ''):
        return
    hint = ''
    if parts.scheme == 'hf':
        hint = '; the hub has the file as https://huggingface.co/OWNER/NAME/resolve/main/FILE'
    raise DownloadError(f'refused: {url} is not https://, which alone shows who answers{hint}')


def file_name(url: str) -> str:
    """Name for the file of an address: the end of its path, decoded, as any file system takes it.

    Query, parameters and fragment are no part of it.

    Raises:
        DownloadError: the path names no file.
    """
    name = re.split(r'[/\\]', unquote(_parse(url).path.rpartition('/')[2]))[-1]
    name = _FORBIDDEN.sub('_', name).lstrip('.').rstrip('. ')
    if not name:
        raise DownloadError(f'{url} names no file: an address ends in the name of one')
    if len(name.encode()) > _LONGEST:
        raise DownloadError(f'{url} names a file of more than {_LONGEST} letters')
    return f'_{name}' if _DEVICES.fullmatch(name) else name


def names_in(url: str) -> list[str]:
    """The file names in an address, the likeliest first: of the path, then those in the query.

    That of `https://host/vit-85be947b.pth/download?as=file` is the first with a suffix.
    """
    parts = _parse(url)
    segments = [unquote(part) for part in parts.path.split('/') if part]
    values = [value for _, value in parse_qsl(parts.query)]
    found = [re.split(r'[/\\]', name)[-1] for name in (*reversed(segments[-2:]), *values)]
    return [name for name in found if '.' in name]


def encoded(url: str) -> str:
    """The address as it goes over the wire: other letters and blanks as their percent codes.

    Raises:
        DownloadError: it contains a control character.
    """
    if re.search(r'[\x00-\x1f\x7f]', url):
        raise DownloadError(f'{url!r} is no address: it holds a control character')
    return quote(url, safe=_KEEP)


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


def _parse(url: str) -> ParseResult:
    """Parts of an address; `urlparse`, unlike `urlsplit`, takes `;parameters` off the path."""
    try:
        parts = urlparse(url)
        _ = parts.port  # raises ValueError for a wrong port
    except ValueError as error:
        raise DownloadError(f'{url} is no address: {error}') from None
    return parts


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'
