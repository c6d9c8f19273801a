"""The same by Twisted, on its epoll reactor."""

import os
import sys
import threading

import twisted

if sys.argv[1:] == ["--version"]:
    sys.exit(print(twisted.__version__))

from twisted.internet import epollreactor

epollreactor.install()

from twisted.internet import protocol, reactor


class Echo(protocol.Protocol):
    def connectionMade(self):
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data):
        self.transport.write(data)


def end_with_input():
    while os.read(0, 1):
        pass
    reactor.callFromThread(reactor.stop)


port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), backlog=4096, interface="127.0.0.1")
print(port.getHost().port, flush=True)
threading.Thread(target=end_with_input, daemon=True).start()
reactor.run()
sys.exit(0)
