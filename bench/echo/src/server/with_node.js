// TCP echo on Node.
//
//   node with_node.js CONNECTIONS    serves so many connections
//   node with_node.js version        says Node's version and its path
"use strict";

const net = require("net");

function serve(connections) {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on("data", (bytes) => socket.write(bytes));
    // Node ends when all sockets are closed.
    if (--connections === 0) server.close();
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
  // Nobody may be there any more to close them.
  setTimeout(() => process.exit(3), 180_000).unref();
}

const order = process.argv[2];
if (order === "version") console.log(`${process.version.slice(1)} ${process.execPath}`);
else serve(Number(order));
