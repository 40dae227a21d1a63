"""A TLS server with a certificate of its own making, for the container test: who comes, and how far.

Prints one line for each step of each caller: the name it asked for, the protocol that was agreed on, or how
the handshake ended. Anything that speaks HTTP over it is told that the message was taken, as the Bot API does.
"""

import json
import socket
import ssl
import subprocess
import sys

PORT = 8443


def say(*words):
    """One line, at once: the test reads the container's log."""
    print(*words, flush=True)


def context(name):
    """A server's context with a certificate for the name."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", "/tmp/key.pem", "-out", "/tmp/cert.pem"],
        check=True, stderr=subprocess.DEVNULL,
    )
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain("/tmp/cert.pem", "/tmp/key.pem")
    made.sni_callback = lambda _socket, asked, _context: say("asked for", asked)
    return made


def answer(caller):
    """Read one request, say that its message was taken."""
    caller.recv(65536)
    message = {"message_id": 1, "date": 1700000000, "chat": {"id": 1, "type": "private", "first_name": "x"}, "text": "x"}
    body = json.dumps({"ok": True, "result": message}).encode()
    caller.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def main():
    """Serve callers one after another."""
    made = context(sys.argv[1])
    with socket.create_server(("0.0.0.0", PORT)) as server:
        say("listening")
        while True:
            caller, _ = server.accept()
            caller.settimeout(10)
            try:
                with made.wrap_socket(caller, server_side=True) as secured:
                    say("agreed on", secured.version())
                    answer(secured)
                    say("answered")
            except (OSError, ssl.SSLError) as error:
                say("ended:", getattr(error, "reason", None) or error)


main()
