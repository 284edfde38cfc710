// Takes a WebSocket's handshake and sends back every byte as it comes: what a message costs here is next to nothing.
const crypto = require("node:crypto");
const net = require("node:net");

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

net.createServer((socket) => {
  socket.setNoDelay();
  socket.on("error", () => socket.destroy());
  socket.once("data", (head) => {
    const key = /^sec-websocket-key: *(\S+)/im.exec(head.toString("latin1"));
    if (!key) return socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    const accept = crypto.createHash("sha1").update(key[1] + GUID).digest("base64");
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
    socket.pipe(socket);
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
