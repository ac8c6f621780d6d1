"""A web server on this machine that behaves as badly as asked."""

import hashlib
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DATA = bytes(range(256)) * 1200  # 300 kB
TAG = '"one"'


class Handler(BaseHTTPRequestHandler):
    """`/BEHAVIOUR/NAME` answers as the method of that name says."""

    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        self.server.asked.append(self.path)
        behaviour = self.path.split('/')[1]
        self.server.requests[behaviour] += 1
        self.server.ranges.append(self.headers.get('Range'))
        getattr(self, behaviour)(self.server.requests[behaviour])
        self.close_connection = True

    def log_message(self, *args):
        pass

    def head(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()

    def send(self, data=DATA, upto=None, tag=TAG):
        """All of `data`, or what is asked of it if `If-Range` names the tag; `upto` bytes of it."""
        asked = self.headers.get('Range')
        start = 0
        if asked and tag and self.headers.get('If-Range') == tag:
            start = int(asked.removeprefix('bytes=').removesuffix('-'))
        if start >= len(data) > 0 and start:
            return self.head(416, Content_Range=f'bytes */{len(data)}', Content_Length='0')
        extent = f'bytes {start}-{len(data) - 1}/{len(data)}'
        headers = {'ETag': tag} if tag else {}
        if start:
            headers['Content_Range'] = extent
        body = data[start:]
        self.head(206 if start else 200, Content_Length=str(len(body)), **headers)
        self.wfile.write(body if upto is None else body[: max(0, upto - start)])
        self.wfile.flush()
        return None

    def good(self, count):
        self.send()

    def wrong(self, count):
        self.send(DATA[::-1])

    def cut(self, count):  # ends at half, then goes on
        self.send(upto=len(DATA) // 2 if count == 1 else None)

    def cut_always(self, count):
        self.send(upto=len(DATA) // 2)

    def cut_no_range(self, count):
        self.send(upto=len(DATA) // 2 if count == 1 else None, tag='')

    def changed(self, count):  # another file of the same length after the break
        if count == 1:
            self.send(DATA[::-1], upto=len(DATA) // 2, tag='"old"')
        else:
            self.send()

    def missing(self, count):
        page = b'<html>not here</html>'
        self.head(404, Content_Type='text/html', Content_Length=str(len(page)))
        self.wfile.write(page)

    def page(self, count):
        page = b'<html>please log in</html>'
        self.head(200, Content_Type='text/html', Content_Length=str(len(page)))
        self.wfile.write(page)

    def busy(self, count):
        if count == 1:
            self.head(503, Content_Length='0')
        else:
            self.send()

    def moved(self, count):
        self.head(302, Location='/good/file.pth', Content_Length='0')

    def renamed(self, count):  # by a redirect
        name = f'renamed-{self.server.sha256[:8]}.pth'
        self.head(302, Location=f'/good/{name}?token=1', Content_Length='0')

    def misnamed(self, count):
        self.head(302, Location='/good/renamed-fedcba98.pth', Content_Length='0')

    def disposed(self, count):  # called otherwise by a header
        name = "attachment; filename*=UTF-8''..%2Fother-fedcba98.pth"
        self.head(200, Content_Length=str(len(DATA)), Content_Disposition=name)
        self.wfile.write(DATA)

    def to_ftp(self, count):
        self.head(302, Location='ftp://127.0.0.1/file.pth', Content_Length='0')

    def to_file(self, count):
        self.head(301, Location='file:///etc/hostname', Content_Length='0')

    def to_http(self, count):
        self.head(307, Location='http://example.com/file.pth', Content_Length='0')

    def stall(self, count):
        self.send(upto=len(DATA) // 2)
        self.server.gate.wait(10)

    def endless(self, count):  # no length: it ends when the connection does
        self.head(200, ETag=TAG)
        self.wfile.write(DATA[: len(DATA) // 2])

    def chunked(self, count):
        self.head(200, Transfer_Encoding='chunked')
        for start in range(0, len(DATA), 100_000):
            block = DATA[start : start + 100_000]
            self.wfile.write(f'{len(block):x}\r\n'.encode() + block + b'\r\n')
        self.wfile.write(b'0\r\n\r\n')

    def nonsense(self, count):
        self.head(200, Content_Length='many')
        self.wfile.write(DATA)

    def gated(self, count):  # the second half when the test says so
        self.head(200, Content_Length=str(len(DATA)), ETag=TAG)
        self.wfile.write(DATA[: len(DATA) // 2])
        self.wfile.flush()
        self.server.started.set()
        self.server.gate.wait(60)
        self.wfile.write(DATA[len(DATA) // 2 :])

    def drip(self, count):
        self.head(200, Content_Length=str(len(DATA)), ETag=TAG)
        try:
            for index in range(1000):
                self.wfile.write(DATA[index : index + 1])
                self.wfile.flush()
                time.sleep(0.01)
        except OSError:
            return

    def huge(self, count):
        self.head(200, Content_Length=str(10**18), ETag=TAG)


@contextmanager
def serve():
    """Its address is `url`; `requests` counts what was asked, `gate` ends a wait."""
    httpd = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    httpd.requests, httpd.ranges, httpd.asked = Counter(), [], []
    httpd.gate, httpd.started = threading.Event(), threading.Event()
    httpd.url = f'http://127.0.0.1:{httpd.server_address[1]}'
    httpd.data = DATA
    httpd.sha256 = hashlib.sha256(DATA).hexdigest()
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield httpd
    finally:
        httpd.gate.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()
