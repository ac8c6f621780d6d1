"""Two nodes on one machine: network namespaces with a cable between them.

Each has an address, a host name that is 127.0.1.1 as on Debian, and mounts of its own. Root makes
them, or else a user namespace.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ADDRESSES = ('10.77.0.1', '10.77.0.2')
_TOOLS = ('ip', 'unshare', 'nsenter', 'mount')


def obstacle():
    """Why there can be no two nodes here; None if there can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if sys.platform != 'linux' or missing:
        return f'namespaces need Linux with {", ".join(missing or _TOOLS)}'
    made = subprocess.run([*_unshare(), 'true'], capture_output=True, text=True)
    return f'no right to make namespaces: {made.stderr.strip()}' if made.returncode else None


def _unshare():
    user = [] if os.geteuid() == 0 else ['--user', '--map-root-user']
    return ['unshare', *user, '--net', '--mount', '--uts']


class Node:
    """A node, as long as its holder lives.

    Attributes:
        prefix: words before a command line that is to run on it.
    """

    def __init__(self, number, within, hosts):
        self.number = number
        start = [*within, 'unshare', '--net', '--mount', '--uts'] if within else _unshare()
        self._holder = subprocess.Popen([*start, 'sleep', 'infinity'])
        self.pid = self._holder.pid
        user = [] if os.geteuid() == 0 else ['--user', '--preserve-credentials']
        self._enter = ['nsenter', '--target', str(self.pid), *user]
        self.prefix = [*self._enter, '--net', '--mount', '--uts', f'--wd={Path.cwd()}']
        self._await_namespaces()
        self.call('hostname', f'node{number}')
        self.call('mount', '--make-rprivate', '/')
        self.call('mount', '--bind', str(hosts), '/etc/hosts')
        self.call('ip', 'link', 'set', 'lo', 'up')

    def _await_namespaces(self):
        own = os.readlink('/proc/self/ns/net')
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                is_sleep = Path(f'/proc/{self.pid}/comm').read_text() == 'sleep\n'
                if is_sleep and os.readlink(f'/proc/{self.pid}/ns/net') != own:
                    return
            time.sleep(0.02)
        raise RuntimeError('no namespaces')

    def call(self, *words):
        """Run a command on the node."""
        subprocess.run([*self.prefix, *words], check=True, capture_output=True)

    def user_namespace(self):
        """Words before a command that makes another node, for whom is not root."""
        return [] if os.geteuid() == 0 else [*self._enter]

    def plug_in(self):
        """Connect the node's end of the cable."""
        name = f'cable{self.number}'
        self.call('ip', 'addr', 'add', f'{ADDRESSES[self.number]}/24', 'dev', name)
        self.call('ip', 'link', 'set', name, 'up')

    def pull_out(self):
        """Cut the cable, of which nobody is told."""
        self.call('ip', 'link', 'set', f'cable{self.number}', 'down')

    def plug_in_again(self):
        self.call('ip', 'link', 'set', f'cable{self.number}', 'up')

    def hide(self, folder):
        """Give the node an empty folder of its own at a path."""
        self.call('mount', '-t', 'tmpfs', 'tmpfs', str(folder))

    def end(self):
        self._holder.kill()
        self._holder.wait()


@contextlib.contextmanager
def two_nodes(folder):
    """Two connected nodes; nothing of them is left behind."""
    nodes = []
    try:
        for number in range(2):
            hosts = Path(folder) / f'hosts{number}'
            hosts.write_text(f'127.0.0.1 localhost\n127.0.1.1 node{number}\n')
            nodes.append(Node(number, nodes[0].user_namespace() if nodes else [], hosts))
        peer = ['peer', 'name', 'cable1', 'netns', str(nodes[1].pid)]
        nodes[0].call('ip', 'link', 'add', 'cable0', 'type', 'veth', *peer)
        for node in nodes:
            node.plug_in()
        yield nodes
    finally:
        for node in nodes:
            node.end()
