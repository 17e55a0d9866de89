"""A receiver of webhooks, as a customer writes it with PyPI's standardwebhooks: the body counts only if it is verified.

Prints its port, and then each verified body as a line of JSON.
"""

import http.server
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

SECRET = sys.argv[1]


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message = Webhook(SECRET).verify(body, dict(self.headers))
        except WebhookVerificationError:
            return self.answer(401)
        print(json.dumps({"id": self.headers["webhook-id"], "message": message}), flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(json.dumps(server.server_address[1]), flush=True)
server.serve_forever()
