// A receiver of webhooks, as a customer writes it with npm's standardwebhooks: the body counts only if it is verified.
//
// Prints its port, and then each verified body as a line of JSON.
const http = require("node:http");
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

const secret = process.argv[2];

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    try {
      const message = new Webhook(secret).verify(Buffer.concat(chunks), request.headers);
      console.log(JSON.stringify({ id: request.headers["webhook-id"], message }));
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(error instanceof WebhookVerificationError ? 401 : 500).end();
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
