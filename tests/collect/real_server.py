"""The real command in a process of its own, for tests of it and of the page."""

import re
import signal
import subprocess
import sys


class Server:
    """``dqe collect`` in a process of its own."""

    def __init__(self, folder, *options, port=0):
        self.folder, self.options, self.port = folder, options, port
        self.start()

    def start(self):
        command = [sys.executable, "-m", "dqe_loss.collect", "--out", str(self.folder), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *self.options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.links, self.said = {}, []
        for line in self.process.stdout:
            self.said.append(line)
            if found := re.match(r"(\w+) \(.* done\): (http://127\.0\.0\.1:(\d+)/r/\S+)", line):
                self.links[found[1]], self.port = found[2], int(found[3])
            if line.startswith("Each link"):
                return
        raise AssertionError("".join(self.said))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=120)[0]
