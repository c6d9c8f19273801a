"""TCP echo on Twisted.

  python3 with_twisted.py CONNECTIONS    serves so many connections
  python3 with_twisted.py version        says Twisted's version and Python's path
"""

import signal
import sys

import twisted
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    def connectionMade(self):
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data):
        self.transport.write(data)

    def connectionLost(self, reason):
        self.factory.open -= 1
        if self.factory.open == 0:
            reactor.stop()


def serve(connections):
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    factory.open = connections
    port = reactor.listenTCP(0, factory, backlog=511, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    # Nobody may be there any more to close them.
    signal.alarm(180)
    reactor.run()


if sys.argv[1] == "version":
    print(twisted.__version__, sys.executable)
else:
    serve(int(sys.argv[1]))
