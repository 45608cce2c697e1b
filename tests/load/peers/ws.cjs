// Fan-out with node and ws, as ws's own documentation writes it: each line from the publisher goes to every client.
// Prints {"http":PORT,"publish":PORT} when it listens.
const net = require("node:net");
const readline = require("node:readline");
const { WebSocket, WebSocketServer } = require("ws");

const viewers = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false, backlog: 4096 });

const publisher = net.createServer((socket) => {
  readline.createInterface({ input: socket }).on("line", (line) => {
    const data = Buffer.from(line);
    for (const viewer of viewers.clients) {
      if (viewer.readyState === WebSocket.OPEN) viewer.send(data, { binary: false });
    }
  });
});

viewers.on("listening", () => {
  publisher.listen(0, "127.0.0.1", () => {
    console.log(JSON.stringify({ http: viewers.address().port, publish: publisher.address().port }));
  });
});
