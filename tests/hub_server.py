"""A stand-in of the Hugging Face Hub on this machine: repositories, large files, commits."""

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = 'hf_stand_in'
_LARGE = 5000  # bytes from which a file goes to the store of large files first


class Handler(BaseHTTPRequestHandler):
    """Answers what `HfApi.create_repo`, `model_info` and `upload_folder` ask."""

    protocol_version = 'HTTP/1.1'

    def log_message(self, *args):
        pass

    def do_GET(self):
        name = self.path.split('?')[0].removeprefix('/api/models/')
        is_private = self.server.private.get(name)
        if is_private is None:
            return self.answer(404, {'error': 'no such repository'})
        return self.answer(200, {'id': name, 'modelId': name, 'private': is_private, 'tags': []})

    def do_PUT(self):
        content = self.content()
        if not self.refused('large file'):
            self.server.large[hashlib.sha256(content).hexdigest()] = content
            self.answer(200, {})

    def do_POST(self):
        path, body = self.path.split('?')[0], self.content()
        self.server.asked.append(path)
        if self.headers.get('Authorization') != f'Bearer {TOKEN}':
            self.answer(401, {'error': 'Invalid username or password.'})
        elif path == '/api/repos/create':
            self.create(json.loads(body))
        elif path == '/api/validate-yaml':
            self.answer(200, {'errors': [], 'warnings': []})
        elif path.endswith('/preupload/main'):
            asked = json.loads(body)['files']
            kinds = [{'path': file['path'], 'shouldIgnore': False,
                      'uploadMode': 'lfs' if file['size'] > _LARGE else 'regular'}
                     for file in asked]  # fmt: skip
            self.answer(200, {'files': kinds})
        elif path.endswith('/info/lfs/objects/batch'):
            objects = [{**one, 'actions': {'upload': {'href': f'{self.server.url}/{one["oid"]}'}}}
                       for one in json.loads(body)['objects']]  # fmt: skip
            self.answer(200, {'transfer': 'basic', 'objects': objects})
        elif path.endswith('/commit/main'):
            self.commit(path.removeprefix('/api/models/').removesuffix('/commit/main'), body)

    def create(self, asked):
        name = f'{asked["organization"]}/{asked["name"]}'
        if self.refused('create'):
            return
        url = f'{self.server.url}/{name}'
        is_new = name not in self.server.private
        self.server.private.setdefault(
            name, 'private' in (asked.get('visibility'), asked.get('private') and 'private')
        )
        self.answer(200 if is_new else 409, {'url': url, 'name': name, 'error': 'it exists'})

    def commit(self, name, body):
        if self.refused('commit'):
            return
        lines = [json.loads(line) for line in body.splitlines()]
        files = {}
        for line in lines:
            value = line['value']
            if line['key'] == 'file':
                files[value['path']] = base64.b64decode(value['content'])
            elif line['key'] == 'lfsFile':
                files[value['path']] = self.server.large[value['oid']]
        self.server.commits.append((name, files))
        url = f'{self.server.url}/{name}/commit/1'
        self.answer(200, {'commitUrl': url, 'commitOid': '1', 'success': True})

    def refused(self, step):
        if self.server.refuse != step:
            return False
        if self.server.refusal == 'cut':
            self.close_connection = True
        elif self.server.refusal == 'page':
            self.answer(200, 'a page of a proxy')
        else:
            self.answer(self.server.refusal, {'error': f'{step} is forbidden'})
        return True

    def content(self):
        if self.headers.get('Transfer-Encoding') != 'chunked':
            return self.rfile.read(int(self.headers.get('Content-Length', 0)))
        blocks = []
        while size := int(self.rfile.readline(), 16):
            blocks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b''.join(blocks)

    def answer(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def hub_server():
    """A server with `private` (name to whether it is), `commits` (name, files) and `refuse`.

    `refuse` names a step, `refusal` is how: a status, 'cut' for no answer, or 'page' for another.
    """
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.url = f'http://127.0.0.1:{server.server_port}'
    server.private, server.large, server.commits, server.asked = {}, {}, [], []
    server.refuse, server.refusal = None, 403
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
