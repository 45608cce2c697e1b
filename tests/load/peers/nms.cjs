// node-media-server as it comes, RTMP only. usage: node nms.cjs RTMP_PORT FOLDER
// Prints "publishing" when a publisher was accepted: that is when the puller starts.
const NodeMediaServer = require("node-media-server");
const logger = require("node-media-server/src/core/logger.js");

const [port, folder] = process.argv.slice(2);
const server = new NodeMediaServer({
  bind: "127.0.0.1",
  rtmp: { port: Number(port) },
  store: { path: folder },
  record: { auto: false, path: folder },
  auth: { play: false, publish: false },
  webadmin: { enable: false },
});
// Its default log level writes a line per event; a quiet server is the fairer peer.
logger.level = "error";
server.on("postPublish", () => console.log("publishing"));
server.run();
